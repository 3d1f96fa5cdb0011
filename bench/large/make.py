#!/usr/bin/env python3
"""Makes a model folder of the real size with random weights: its speed and memory are the real ones, its pictures are noise.

    python bench/large/make.py sd15 --out DIR [--size open|512] [--dtype float32|float16|int8] [--parts unet,vae_decoder]
                                 [--layers 0.25]

Needs torch, diffusers, transformers, onnx and onnxruntime; 10 GB of memory and a few minutes for sd15. The shapes:

sd15   Stable Diffusion 1.5: 860 M parameters, 512 x 512       sd2    2.1: 866 M, 768 x 768, OpenCLIP's width
sdxl   Stable Diffusion XL: 2567 M, 1024 x 1024                sd3    3 medium: 2084 M without T5, 1024 x 1024
flux   Flux's widths with 3 + 6 of its 19 + 38 blocks, 1024 x 1024, T5 with 2 of its 24 blocks
tiny   sd15 with a sixteenth of the channels, to try this script

--size open leaves batch, height and width open, as Optimum does; a number fixes height and width, as torch does unless told,
and as exports for WebNN and DirectML do. int8 is onnxruntime's quantize_dynamic of the denoiser's MatMul nodes; the rest
stays float32. Weights lie beside the graph in model.onnx.data. --layers makes a part of the layers of each encoder and of each
stack of transformer blocks, at their real widths: what is left takes as much less of time and memory.
"""
import argparse
import gc
import json
import os
import sys
import time

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
)

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../test/fixtures'))
from tiling import Decode, Encode  # noqa: E402

SHAPES = {
    'sd15': dict(size=512, network='unet', config=dict(cross_attention_dim=768, attention_head_dim=8)),
    'sd2': dict(
        size=768,
        network='unet',
        config=dict(cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True),
    ),
    'sdxl': dict(
        size=1024,
        network='unet',
        config=dict(
            block_out_channels=(320, 640, 1280),
            down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'),
            up_block_types=('CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type='text_time',
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        ),
    ),
    'sd3': dict(
        size=1024,
        network='transformer',
        config=dict(
            num_layers=24,
            num_attention_heads=24,
            attention_head_dim=64,
            caption_projection_dim=1536,
            joint_attention_dim=4096,
            pooled_projection_dim=2048,
            in_channels=16,
            out_channels=16,
            patch_size=2,
            pos_embed_max_size=192,
        ),
    ),
    'flux': dict(
        size=1024,
        network='transformer',
        config=dict(
            num_layers=3,
            num_single_layers=6,
            attention_head_dim=128,
            num_attention_heads=24,
            joint_attention_dim=4096,
            pooled_projection_dim=768,
            in_channels=64,
            guidance_embeds=True,
        ),
    ),
    'tiny': dict(
        size=128,
        network='unet',
        config=dict(block_out_channels=(32, 64, 64, 64), cross_attention_dim=64, attention_head_dim=4),
    ),
}
TEXT = {
    'sd15': dict(hidden_size=768, layers=12, heads=12, act='quick_gelu'),
    'sd2': dict(hidden_size=1024, layers=23, heads=16, act='gelu'),
    'tiny': dict(hidden_size=64, layers=2, heads=4, act='quick_gelu'),
}
# Width, layers, heads and activation of the encoders of the larger ones: CLIP L, OpenCLIP bigG.
CLIP_L = dict(hidden_size=768, layers=12, heads=12, act='quick_gelu')
CLIP_G = dict(hidden_size=1280, layers=32, heads=20, act='gelu')

AUTOENCODERS = {
    'sd15': dict(latent_channels=4, scaling_factor=0.18215),
    'sd2': dict(latent_channels=4, scaling_factor=0.18215),
    'sdxl': dict(latent_channels=4, scaling_factor=0.13025),
    'sd3': dict(latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609, no_quant=True),
    'flux': dict(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159, no_quant=True),
    'tiny': dict(latent_channels=4, scaling_factor=0.18215),
}


class Encoder(torch.nn.Module):
    """A text encoder with the outputs that Optimum's exports have."""

    def __init__(self, model, pooled, hidden):
        super().__init__()
        self.model, self.pooled, self.hidden = model, pooled, hidden

    def forward(self, input_ids):
        out = self.model(input_ids, output_hidden_states=self.hidden, return_dict=True)
        results = [out.last_hidden_state]
        if self.pooled:
            results = [out[self.pooled], *results]
        return tuple(results + (list(out.hidden_states) if self.hidden else []))


class Denoiser(torch.nn.Module):
    def __init__(self, model, kind):
        super().__init__()
        self.model, self.kind = model, kind

    def forward(self, *inputs):
        if self.kind == 'xl':
            sample, timestep, context, pooled, ids = inputs
            added = {'text_embeds': pooled, 'time_ids': ids}
            return self.model(sample, timestep, context, added_cond_kwargs=added, return_dict=False)[0]
        if self.kind == 'plain':
            return self.model(*inputs, return_dict=False)[0]
        return self.model(**dict(zip(NAMES[self.kind], inputs)), return_dict=False)[0]


NAMES = {
    'plain': ['sample', 'timestep', 'encoder_hidden_states'],
    'xl': ['sample', 'timestep', 'encoder_hidden_states', 'text_embeds', 'time_ids'],
    'sd3': ['hidden_states', 'encoder_hidden_states', 'pooled_projections', 'timestep'],
    'flux': ['hidden_states', 'encoder_hidden_states', 'pooled_projections', 'timestep', 'img_ids', 'txt_ids', 'guidance'],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('shape', choices=SHAPES)
    parser.add_argument('--out', required=True)
    parser.add_argument('--size', default='open')
    parser.add_argument('--dtype', default='float32', choices=['float32', 'float16', 'int8'])
    parser.add_argument('--parts', default='unet,transformer,text,vae_decoder,vae_encoder,files')
    parser.add_argument('--layers', type=float, default=1)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    maker = Maker(args)
    wanted = args.parts.split(',')
    for part in ['files', 'text', 'vae_decoder', 'vae_encoder', 'unet', 'transformer']:
        if part in wanted:
            getattr(maker, part)()
            gc.collect()


class Maker:
    def __init__(self, args):
        self.name, self.out = args.shape, args.out
        self.layers = lambda count: max(2, round(count * args.layers))
        self.shape = self.shortened(SHAPES[self.name])
        self.open = args.size == 'open'
        self.size = self.shape['size'] if self.open else int(args.size)
        self.half = args.dtype == 'float16'
        self.int8 = args.dtype == 'int8'
        self.side = self.size // 8
        # What is 1 in the example is 1 for ever to torch's exporter.
        self.batch = 2 if self.open else 1
        self.wide = self.shape['network'] == 'transformer' or self.name == 'sdxl'

    def shortened(self, shape):
        config = dict(shape['config'])
        for key in ('num_layers', 'num_single_layers'):
            if key in config:
                config[key] = self.layers(config[key])
        if 'transformer_layers_per_block' in config:
            stacks = config['transformer_layers_per_block']
            config['transformer_layers_per_block'] = tuple(self.layers(n) if n > 2 else n for n in stacks)
        return {**shape, 'config': config}

    # What stands in JSON.
    def files(self):
        flow = self.name in ('sd3', 'flux')
        scheduler = (
            dict(_class_name='FlowMatchEulerDiscreteScheduler', num_train_timesteps=1000, shift=3.0)
            if flow
            else dict(
                _class_name='PNDMScheduler',
                num_train_timesteps=1000,
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule='scaled_linear',
                skip_prk_steps=True,
                steps_offset=1,
                prediction_type='v_prediction' if self.name == 'sd2' else 'epsilon',
            )
        )
        self.write('scheduler/scheduler_config.json', scheduler)
        network = {'plain': 'UNet2DConditionModel', 'xl': 'UNet2DConditionModel'}.get(self.kind)
        network = network or {'sd3': 'SD3Transformer2DModel', 'flux': 'FluxTransformer2DModel'}[self.kind]
        index = {
            '_class_name': {
                'plain': 'StableDiffusionPipeline',
                'xl': 'StableDiffusionXLPipeline',
                'sd3': 'StableDiffusion3Pipeline',
                'flux': 'FluxPipeline',
            }[self.kind],
            self.shape['network']: ['diffusers', network],
            'vae': ['diffusers', 'AutoencoderKL'],
            'scheduler': ['diffusers', scheduler['_class_name']],
        }
        for suffix, kind in self.encoders():
            index['text_encoder' + suffix] = ['transformers', kind]
            index['tokenizer' + suffix] = ['transformers', 'T5TokenizerFast' if 'T5' in kind else 'CLIPTokenizer']
            (self.t5_tokenizer if 'T5' in kind else self.clip_tokenizer)('tokenizer' + suffix)
        self.write('model_index.json', index)

    @property
    def kind(self):
        return {'sdxl': 'xl', 'sd3': 'sd3', 'flux': 'flux'}.get(self.name, 'plain')

    def encoders(self):
        clip, projected, t5 = 'CLIPTextModel', 'CLIPTextModelWithProjection', 'T5EncoderModel'
        return {
            'plain': [('', clip)],
            'xl': [('', clip), ('_2', projected)],
            # Without T5, whose 4.8 billion parameters diffusers lets one leave out.
            'sd3': [('', projected), ('_2', projected)],
            'flux': [('', clip), ('_2', t5)],
        }[self.kind]

    def clip_tokenizer(self, folder):
        """CLIP's form with every byte a token of its own and no merges: prompts of up to 75 letters."""
        letters = byte_letters()
        vocab = {token: i for i, token in enumerate([*letters, *(letter + '</w>' for letter in letters)])}
        # Where CLIP has them, since its pooled vector is that of the largest id.
        vocab['<|startoftext|>'], vocab['<|endoftext|>'] = 49406, 49407
        self.write(f'{folder}/vocab.json', vocab)
        self.write(f'{folder}/merges.txt', '#version: 0.2\n')
        self.write(
            f'{folder}/tokenizer_config.json',
            dict(
                tokenizer_class='CLIPTokenizer',
                model_max_length=77,
                bos_token='<|startoftext|>',
                eos_token='<|endoftext|>',
                pad_token='<|endoftext|>',
                unk_token='<|endoftext|>',
            ),
        )

    def t5_tokenizer(self, folder):
        vocab = [['<pad>', 0.0], ['</s>', 0.0], ['<unk>', 0.0], ['▁', -2.0]]
        vocab += [[letter, -5.0] for letter in 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,']
        space = {'type': 'Metaspace', 'replacement': '▁', 'prepend_scheme': 'always', 'split': True}
        end = {'SpecialToken': {'id': '</s>', 'type_id': 0}}
        special = [
            dict(id=i, content=vocab[i][0], single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
            for i in range(3)
        ]
        self.write(
            f'{folder}/tokenizer.json',
            {
                'version': '1.0',
                'truncation': None,
                'padding': None,
                'added_tokens': special,
                'normalizer': None,
                'pre_tokenizer': space,
                'post_processor': {
                    'type': 'TemplateProcessing',
                    'single': [{'Sequence': {'id': 'A', 'type_id': 0}}, end],
                    'pair': [{'Sequence': {'id': 'A', 'type_id': 0}}, end],
                    'special_tokens': {'</s>': {'id': '</s>', 'ids': [1], 'tokens': ['</s>']}},
                },
                'decoder': space,
                'model': {'type': 'Unigram', 'unk_id': 2, 'vocab': vocab, 'byte_fallback': False},
            },
        )
        self.write(
            f'{folder}/tokenizer_config.json',
            dict(
                tokenizer_class='T5Tokenizer',
                model_max_length=512,
                eos_token='</s>',
                pad_token='<pad>',
                unk_token='<unk>',
            ),
        )

    def text(self):
        for suffix, kind in self.encoders():
            if kind == 'T5EncoderModel':
                config = T5Config(
                    vocab_size=32128,
                    d_model=4096,
                    d_kv=64,
                    d_ff=10240,
                    num_layers=2,
                    num_heads=64,
                    feed_forward_proj='gated-gelu',
                    use_cache=False,
                )
                model, pooled, hidden, tokens = T5EncoderModel(config), None, False, 512
            else:
                shape = TEXT.get(self.name) or (CLIP_G if suffix == '_2' else CLIP_L)
                config = CLIPTextConfig(
                    hidden_size=shape['hidden_size'],
                    intermediate_size=4 * shape['hidden_size'],
                    num_hidden_layers=self.layers(shape['layers']),
                    num_attention_heads=shape['heads'],
                    hidden_act=shape['act'],
                    vocab_size=49408,
                    projection_dim=shape['hidden_size'],
                    # As the real ones have it: the pooled vector is that of the largest id.
                    eos_token_id=2,
                )
                config._attn_implementation = 'eager'
                projected = kind == 'CLIPTextModelWithProjection'
                model = (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)
                pooled = 'text_embeds' if projected else 'pooler_output'
                hidden, tokens = self.wide and self.kind != 'flux', 77
            names = [*([pooled] if pooled else []), 'last_hidden_state']
            if hidden:
                names += [f'hidden_states.{i}' for i in range(model.config.num_hidden_layers + 1)]
            ids = torch.zeros(self.batch, tokens, dtype=torch.int64)
            ids[:, 0], ids[:, -1] = (0, 1) if kind == 'T5EncoderModel' else (49406, 49407)
            dims = {'input_ids': {0: 'batch_size'}} if self.open else None
            encoder = self.typed(Encoder(model, pooled, hidden))
            self.export(encoder, f'text_encoder{suffix}', {'input_ids': ids}, names, dims, {})

    def autoencoder(self):
        config = dict(AUTOENCODERS[self.name])
        plain = config.pop('no_quant', False)
        levels = (16, 32, 32, 32) if self.name == 'tiny' else (128, 256, 512, 512)
        return self.typed(
            AutoencoderKL(
                block_out_channels=levels,
                down_block_types=('DownEncoderBlock2D',) * 4,
                up_block_types=('UpDecoderBlock2D',) * 4,
                layers_per_block=2,
                norm_num_groups=16 if self.name == 'tiny' else 32,
                sample_size=self.shape['size'],
                use_quant_conv=not plain,
                use_post_quant_conv=not plain,
                **config,
            )
        )

    def vae_decoder(self):
        vae = self.autoencoder()
        z = torch.randn(self.batch, vae.config.latent_channels, self.side, self.side).to(vae.dtype)
        dims = {'latent_sample': {0: 'batch_size', 2: 'height_latent', 3: 'width_latent'}} if self.open else None
        self.export(Decode(vae), 'vae_decoder', {'latent_sample': z}, ['sample'], dims, vae.config)

    def vae_encoder(self):
        vae = self.autoencoder()
        x = torch.zeros(self.batch, 3, self.size, self.size).to(vae.dtype)
        # What is halved three times is named by what remains: the exporter wants sizes to be multiples of 8.
        dims = None
        if self.open:
            h = torch.export.Dim('height_latent', min=2, max=1024)
            w = torch.export.Dim('width_latent', min=2, max=1024)
            dims = {'sample': {0: torch.export.Dim('batch_size'), 2: 8 * h, 3: 8 * w}}
        self.export(Encode(vae), 'vae_encoder', {'sample': x}, ['latent_parameters'], dims, vae.config)

    def unet(self):
        if self.shape['network'] != 'unet':
            return
        config = dict(sample_size=self.shape['size'] // 8, in_channels=4, out_channels=4)
        if 'block_out_channels' not in self.shape['config']:
            config['block_out_channels'] = (320, 640, 1280, 1280)
        model = UNet2DConditionModel(**config, **self.shape['config'])
        width = model.config.cross_attention_dim
        inputs = {
            'sample': torch.randn(2, 4, self.side, self.side),
            'timestep': torch.tensor([500]),
            'encoder_hidden_states': torch.randn(2, 77, width),
        }
        if self.kind == 'xl':
            inputs['text_embeds'], inputs['time_ids'] = torch.randn(2, 1280), torch.randn(2, 6)
        # A U-Net halves sizes twice or thrice; the exporter is told so.
        step = 2 ** (len(model.config.block_out_channels) - 1)
        dims = None
        if self.open:
            batch = torch.export.Dim('batch_size')
            h = torch.export.Dim('height_part', min=2, max=512)
            w = torch.export.Dim('width_part', min=2, max=512)
            dims = {name: {0: batch} for name in inputs if name != 'timestep'}
            dims['timestep'] = {}
            dims['sample'] = {0: batch, 2: step * h, 3: step * w}
        self.network('unet', model, inputs, dims)

    def transformer(self):
        if self.shape['network'] != 'transformer':
            return
        config = self.shape['config']
        batch = torch.export.Dim('batch_size') if self.open else None
        if self.kind == 'sd3':
            model = SD3Transformer2DModel(sample_size=self.shape['size'] // 8, **config)
            inputs = {
                'hidden_states': torch.randn(2, 16, self.side, self.side),
                'encoder_hidden_states': torch.randn(2, 333, config['joint_attention_dim']),
                'pooled_projections': torch.randn(2, config['pooled_projection_dim']),
                'timestep': torch.full((2,), 500.0),
            }
            dims = None
            if self.open:
                h = torch.export.Dim('height_part', min=2, max=96)
                w = torch.export.Dim('width_part', min=2, max=96)
                dims = {name: {0: batch} for name in inputs}
                dims['hidden_states'] = {0: batch, 2: 2 * h, 3: 2 * w}
                dims['encoder_hidden_states'] = {0: batch, 1: torch.export.Dim('tokens', min=2, max=1024)}
        else:
            model = FluxTransformer2DModel(**config)
            patches = (self.side // 2) ** 2
            inputs = {
                'hidden_states': torch.randn(2, patches, 64),
                'encoder_hidden_states': torch.randn(2, 512, config['joint_attention_dim']),
                'pooled_projections': torch.randn(2, config['pooled_projection_dim']),
                'timestep': torch.full((2,), 0.5),
                'img_ids': torch.zeros(patches, 3),
                'txt_ids': torch.zeros(512, 3),
                'guidance': torch.full((2,), 3.5),
            }
            dims = None
            if self.open:
                length = torch.export.Dim('packed_height_width', min=2, max=65536)
                words = torch.export.Dim('sequence_length', min=2, max=1024)
                dims = {name: {0: batch} for name in inputs}
                dims['hidden_states'], dims['encoder_hidden_states'] = {0: batch, 1: length}, {0: batch, 1: words}
                dims['img_ids'], dims['txt_ids'] = {0: length}, {0: words}
        self.network('transformer', model, inputs, dims)

    def network(self, folder, model, inputs, dims):
        count = sum(p.numel() for p in model.parameters())
        print(f'{folder}: {count / 1e6:.0f} M parameters', flush=True)
        model = self.typed(model)
        # Attention by plain operators, as exports have it.
        number = model.dtype
        inputs = {name: value.to(number) if value.is_floating_point() else value for name, value in inputs.items()}
        output = 'out_sample' if folder == 'unet' else 'out_hidden_states'
        ordered = {name: inputs[name] for name in NAMES[self.kind]}
        config = dict(model.config)
        self.export(Denoiser(model, self.kind), folder, ordered, [output], dims, config)
        del model
        gc.collect()
        if self.int8:
            self.quantize(folder)

    def quantize(self, folder):
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        path = os.path.join(self.out, folder, 'model.onnx')
        # The quantizer turns weights of Gemm around and infers shapes anew, and torch's exporter has written down how weights lie.
        graph = onnx.load(path, load_external_data=False)
        weights = {weight.name for weight in graph.graph.initializer}
        others = [value for value in graph.graph.value_info if value.name not in weights]
        del graph.graph.value_info[:]
        graph.graph.value_info.extend(others)
        onnx.save(graph, path)
        small = os.path.join(self.out, folder, 'small.onnx')
        quantize_dynamic(
            path,
            small,
            op_types_to_quantize=['MatMul', 'Gemm'],
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
            extra_options={'MatMulConstBOnly': True},
        )
        os.remove(path)
        if os.path.exists(path + '.data'):
            os.remove(path + '.data')
        os.rename(small, path)
        # The graph names the file of its weights by the name that it was made with.
        print(f'  int8: {size_of(os.path.join(self.out, folder)) / 1e9:.2f} GB', flush=True)

    def typed(self, model):
        model = model.eval()
        return model.half() if self.half else model

    def export(self, model, folder, inputs, outputs, dims, config):
        started = time.time()
        path = os.path.join(self.out, folder, 'model.onnx')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        model = model.eval()
        shapes = None
        if dims is not None:
            shapes = tuple(dims[name] for name in inputs)
            varargs = isinstance(model, Denoiser)
            shapes = (shapes,) if varargs else shapes
        program = torch.onnx.export(
            model,
            tuple(inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=18,
            optimize=True,
            verbose=False,
        )
        program.save(path, external_data=True)
        self.write(f'{folder}/config.json', {k: v for k, v in dict(config).items() if k != '_use_default_values'})
        took = time.time() - started
        print(f'{folder}: {size_of(os.path.dirname(path)) / 1e9:.2f} GB in {took:.0f} s', flush=True)

    def write(self, name, content):
        path = os.path.join(self.out, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as file:
            if isinstance(content, str):
                file.write(content)
            else:
                json.dump(content, file, indent=2, default=str, ensure_ascii=False)


def size_of(folder):
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))


def byte_letters():
    """The letters that stand for bytes in GPT-2's and CLIP's vocabularies."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(others))]


if __name__ == '__main__':
    main()
