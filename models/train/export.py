"""Writes a checkpoint as a folder of ONNX models and JSON files laid out as exported Stable Diffusion pipelines are."""
import argparse
import json
import os
import warnings

import numpy as np
import onnx
import torch
from torch import nn

from data import COLOR_NAMES, PROMPT_LENGTH, SHAPES, SIZE, UNK, PAD, WORDS, WORD_ID
from network import Classifier, WIDTH
from sample import load
from schedule import BETA_END, BETA_START, STEPS

OPSET = 14


class Encode(nn.Module):
  def __init__(self, encoder):
    super().__init__()
    self.encoder = encoder

  def forward(self, input_ids):
    return self.encoder(input_ids)


class Guide(nn.Module):
  def __init__(self, classifier):
    super().__init__()
    self.classifier = classifier

  def forward(self, sample, timestep, labels):
    return self.classifier.gradient(sample, timestep, labels)


def write_json(path, value):
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, 'w') as file:
    json.dump(value, file, indent=2)
    file.write('\n')


def write_onnx(path, module, inputs, outputs, whole=()):
  """Exports with a dynamic batch axis for all inputs but those in `whole`; compares with onnxruntime if it is there."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  axes = {name: {0: 'batch'} for name in list(inputs) + list(outputs) if name not in whole}
  # The exporter that records a run: it is in every torch from 1.13 on. Newer ones have to be asked for it.
  options = {} if torch.__version__.startswith('1.') else {'dynamo': False}
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    torch.onnx.export(module.eval(), tuple(inputs.values()), path, input_names=list(inputs), output_names=list(outputs),
                      dynamic_axes=axes, opset_version=OPSET, **options)
  shorten_names(path, [*inputs, *outputs])
  print(f'{path}: {os.path.getsize(path)} bytes, {difference(path, module, inputs, whole)}')


def shorten_names(path, kept):
  """Gives the graph's inner values short names: the exporter's long ones take more room than some layers."""
  graph_file = onnx.load(path)
  graph = graph_file.graph
  # Weights keep their names, so that they can be found again.
  short = {name: name for name in kept + [tensor.name for tensor in graph.initializer if '.' in tensor.name]}

  def shorten(name):
    return short.setdefault(name, f'v{len(short)}') if name else name

  for tensor in graph.initializer:
    tensor.name = shorten(tensor.name)
  for node in graph.node:
    node.name, node.doc_string = '', ''
    node.input[:] = [shorten(name) for name in node.input]
    node.output[:] = [shorten(name) for name in node.output]
    assert not any(attribute.HasField('g') for attribute in node.attribute)
  del graph.value_info[:]
  onnx.checker.check_model(graph_file)
  onnx.save(graph_file, path)


def difference(path, module, inputs, whole):
  """The largest difference between torch and onnxruntime on a batch of another size than the exported one."""
  try:
    import onnxruntime
  except ImportError:
    return 'onnxruntime is not there to compare with'
  again = {name: value if name in whole else torch.cat([value, value.flip(0), value]) for name, value in inputs.items()}
  with torch.no_grad():
    expected = module(*again.values())
  expected = expected if isinstance(expected, tuple) else (expected,)
  session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
  got = session.run(None, {name: value.numpy() for name, value in again.items()})
  return 'largest difference from torch: ' + ' '.join(f'{np.abs(a.numpy() - b).max():.1e}' for a, b in zip(expected, got))


def check_gradient(classifier):
  """The hand-written gradient against autograd."""
  sample = torch.randn(4, 3, SIZE, SIZE, requires_grad=True)
  timestep = torch.tensor([321.5])
  labels = torch.tensor([[0, 1, 2], [5, 7, 0], [3, 3, 4], [2, 6, 5]])
  logits = classifier(sample, timestep).split(Classifier.PARTS, dim=1)
  log_prob = sum(torch.log_softmax(part, 1).gather(1, labels[:, i:i + 1]) for i, part in enumerate(logits))
  expected, = torch.autograd.grad(log_prob.sum(), sample)
  gradient, value = classifier.gradient(sample, timestep, labels)
  worst = max((gradient - expected).abs().max().item(), (value - log_prob[:, 0]).abs().max().item())
  assert worst < 1e-4, worst
  print(f'gradient of the classifier: largest difference from autograd {worst:.1e}')


def tokenizer():
  """A word tokenizer in the format of the `tokenizers` library."""
  special = [{'id': WORD_ID[word], 'content': word, 'single_word': False, 'lstrip': False, 'rstrip': False,
              'normalized': False, 'special': True} for word in (PAD, UNK)]
  return {
    'version': '1.0',
    'truncation': {'direction': 'Right', 'max_length': PROMPT_LENGTH, 'strategy': 'LongestFirst', 'stride': 0},
    'padding': {'strategy': {'Fixed': PROMPT_LENGTH}, 'direction': 'Right', 'pad_to_multiple_of': None,
                'pad_id': WORD_ID[PAD], 'pad_type_id': 0, 'pad_token': PAD},
    'added_tokens': special,
    'normalizer': {'type': 'Lowercase'},
    'pre_tokenizer': {'type': 'Whitespace'},
    'post_processor': None,
    'decoder': None,
    'model': {'type': 'WordLevel', 'vocab': WORD_ID, 'unk_token': UNK},
  }


def name_times(path):
  """Lets the network be told a time for each sample: a time for all is broadcast, several take no other way."""
  import onnx
  model = onnx.load(path)
  times = next(one for one in model.graph.input if one.name == 'timestep')
  times.type.tensor_type.shape.dim[0].dim_param = 'times'
  onnx.checker.check_model(model)
  onnx.save(model, path)


def write_configs(out):
  write_json(os.path.join(out, 'model_index.json'), {
    '_class_name': 'StableDiffusionPipeline',
    '_dpm_solver': {'space': 'pixel', 'classifier': 'classifier'},
    'scheduler': ['diffusers', 'DPMSolverMultistepScheduler'],
    'text_encoder': ['diffusers', 'OnnxRuntimeModel'],
    'tokenizer': ['transformers', 'PreTrainedTokenizerFast'],
    'unet': ['diffusers', 'OnnxRuntimeModel'],
  })
  write_json(os.path.join(out, 'unet/config.json'), {
    '_class_name': 'UNet2DConditionModel', 'in_channels': 3, 'out_channels': 3, 'sample_size': SIZE,
    'cross_attention_dim': WIDTH,
  })
  write_json(os.path.join(out, 'text_encoder/config.json'), {
    'model_type': 'shapes_text_model', 'hidden_size': WIDTH, 'num_hidden_layers': 2, 'num_attention_heads': 2,
    'max_position_embeddings': PROMPT_LENGTH, 'vocab_size': len(WORDS), 'pad_token_id': WORD_ID[PAD],
  })
  write_json(os.path.join(out, 'tokenizer/tokenizer.json'), tokenizer())
  write_json(os.path.join(out, 'tokenizer/tokenizer_config.json'), {
    'tokenizer_class': 'PreTrainedTokenizerFast', 'model_max_length': PROMPT_LENGTH, 'pad_token': PAD, 'unk_token': UNK,
    'do_lower_case': True,
  })
  write_json(os.path.join(out, 'scheduler/scheduler_config.json'), {
    '_class_name': 'DPMSolverMultistepScheduler', 'num_train_timesteps': STEPS, 'beta_schedule': 'linear',
    'beta_start': BETA_START, 'beta_end': BETA_END, 'prediction_type': 'v_prediction',
    'algorithm_type': 'dpmsolver++', 'solver_order': 2, 'lower_order_final': True, 'euler_at_final': False,
    'final_sigmas_type': 'zero',
  })
  write_json(os.path.join(out, 'classifier/config.json'), {
    'model_type': 'shapes_classifier', 'in_channels': 3, 'sample_size': SIZE,
    'labels': ['shape', 'color', 'background'], 'shapes': SHAPES, 'colors': COLOR_NAMES,
  })


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('checkpoint')
  parser.add_argument('--classifier', help='its checkpoint; without it, untrained weights are written')
  parser.add_argument('--out', default='../shapes')
  args = parser.parse_args()
  torch.set_num_threads(1)
  torch.manual_seed(0)
  model, state = load(args.checkpoint)
  classifier = Classifier()
  if args.classifier:
    classifier.load_state_dict(torch.load(args.classifier, map_location='cpu', weights_only=False)['model'])
  check_gradient(classifier.eval())
  write_configs(args.out)
  sample, timestep = torch.randn(2, 3, SIZE, SIZE), torch.tensor([500.5])
  ids = torch.randint(0, len(WORDS), (2, PROMPT_LENGTH), dtype=torch.int32)
  states = model.text_encoder(ids).detach()
  write_onnx(os.path.join(args.out, 'text_encoder/model.onnx'), Encode(model.text_encoder), {'input_ids': ids}, ['last_hidden_state'])
  write_onnx(os.path.join(args.out, 'unet/model.onnx'), model.unet,
             {'sample': sample, 'timestep': timestep, 'encoder_hidden_states': states}, ['out_sample'], ['timestep'])
  name_times(os.path.join(args.out, 'unet/model.onnx'))
  write_onnx(os.path.join(args.out, 'classifier/model.onnx'), Guide(classifier),
             {'sample': sample, 'timestep': timestep, 'labels': torch.tensor([[0, 1, 2], [3, 4, 5]])},
             ['gradient', 'log_prob'], ['timestep'])
  print(f"exported iteration {state['iteration']}")


if __name__ == '__main__':
  main()
