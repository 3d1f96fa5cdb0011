{
  "variables": {
    "openssl_fips": "",
    "includes": [
      "<!(node -p \"require('node-addon-api').include_dir\")",
      "native"
    ],
    "x86%": "<!(node -p \"['x64', 'ia32'].includes(process.env.npm_config_arch || process.arch) ? 1 : 0\")"
  },
  "target_defaults": {
    "cflags": ["-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-fvisibility=hidden"],
    "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
    "include_dirs": ["<@(includes)"],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "OTHER_CFLAGS": ["-O3", "-ffp-contract=off"],
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES"
    },
    "msvs_settings": { "VCCLCompilerTool": { "FloatingPointModel": "0", "AdditionalOptions": ["/std:c++17"] } },
    "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_DEPRECATED"]
  },
  "targets": [
    {
      "target_name": "dpm-solver",
      "sources": [
        "<!@(node -p \"['addon','coefficients','noise','cpu'].flatMap(d => require('fs').readdirSync('native/'+d).filter(f => f.endsWith('.cpp') && !f.startsWith('isa_')).map(f => 'native/'+d+'/'+f)).join(' ')\")"
      ],
      "conditions": [
        ["x86==1", { "dependencies": ["isa_sse2", "isa_avx2", "isa_avx512"] }, { "dependencies": ["isa_neon"] }]
      ]
    }
  ],
  "conditions": [
    ["x86==1", {
      "targets": [
        { "target_name": "isa_sse2", "type": "static_library", "sources": ["native/cpu/isa_sse2.cpp"] },
        {
          "target_name": "isa_avx2", "type": "static_library", "sources": ["native/cpu/isa_avx2.cpp"],
          "cflags": ["-mavx2", "-mf16c", "-mfma"],
          "xcode_settings": { "OTHER_CFLAGS": ["-mavx2", "-mf16c", "-mfma"] },
          "msvs_settings": { "VCCLCompilerTool": { "AdditionalOptions": ["/arch:AVX2"] } }
        },
        {
          "target_name": "isa_avx512", "type": "static_library", "sources": ["native/cpu/isa_avx512.cpp"],
          "cflags": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mf16c", "-mfma", "-mprefer-vector-width=512"],
          "xcode_settings": { "OTHER_CFLAGS": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mf16c", "-mfma"] },
          "msvs_settings": { "VCCLCompilerTool": { "AdditionalOptions": ["/arch:AVX512"] } }
        }
      ]
    }, {
      "targets": [
        { "target_name": "isa_neon", "type": "static_library", "sources": ["native/cpu/isa_neon.cpp"] }
      ]
    }]
  ]
}
