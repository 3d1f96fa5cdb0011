# The CPU addon built by node-gyp, from the same sources as CMakeLists.txt, for those who have Python but no CMake.
# For checkouts only: npm runs node-gyp on its own where it finds this file, so the published package is without it.
{
  "target_defaults": {
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")", "native"],
    "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_DEPRECATED"],
    "cflags": ["-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-fvisibility=hidden"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
    "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
    "conditions": [
      ["OS=='linux'", {
        "cflags_cc": ["-include", "<(module_root_dir)/native/compat/glibc.h"],
        "ldflags": ["-Wl,--gc-sections", "-Wl,-s"]
      }]
    ],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "GCC_OPTIMIZATION_LEVEL": "3",
      "GCC_ENABLE_CPP_EXCEPTIONS": "NO",
      "GCC_ENABLE_CPP_RTTI": "NO",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      "OTHER_CFLAGS": ["-ffp-contract=off"]
    },
    "msvs_settings": { "VCCLCompilerTool": { "FloatingPointModel": "0", "AdditionalOptions": ["/std:c++17"] } }
  },
  "targets": [
    {
      "target_name": "dpm-solver",
      "sources": ["<!@(node scripts/native-sources.mjs)"],
      "conditions": [
        ["target_arch=='x64' or target_arch=='ia32'", {
          "dependencies": ["isa_sse2", "isa_avx2", "isa_avx512"]
        }, {
          "dependencies": ["isa_neon"]
        }]
      ]
    }
  ],
  "conditions": [
    ["target_arch=='x64' or target_arch=='ia32'", {
      "targets": [
        {
          "target_name": "isa_sse2",
          "type": "static_library",
          "sources": ["native/cpu/isa_sse2.cpp"]
        },
        {
          "target_name": "isa_avx2",
          "type": "static_library",
          "sources": ["native/cpu/isa_avx2.cpp"],
          "cflags": ["-mavx2", "-mf16c", "-mfma"],
          "xcode_settings": { "OTHER_CFLAGS": ["-mavx2", "-mf16c", "-mfma"] },
          "msvs_settings": { "VCCLCompilerTool": { "AdditionalOptions": ["/arch:AVX2"] } }
        },
        {
          "target_name": "isa_avx512",
          "type": "static_library",
          "sources": ["native/cpu/isa_avx512.cpp"],
          "cflags": [
            "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mf16c", "-mfma",
            "-mprefer-vector-width=512"
          ],
          "xcode_settings": {
            "OTHER_CFLAGS": [
              "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mf16c", "-mfma",
              "-mprefer-vector-width=512"
            ]
          },
          "msvs_settings": { "VCCLCompilerTool": { "AdditionalOptions": ["/arch:AVX512"] } }
        }
      ]
    }, {
      "targets": [
        {
          "target_name": "isa_neon",
          "type": "static_library",
          "sources": ["native/cpu/isa_neon.cpp"]
        }
      ]
    }]
  ]
}
