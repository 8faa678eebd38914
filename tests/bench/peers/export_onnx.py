"""Writes the network as ONNX, in eval mode: export_onnx.py OUT.onnx"""
import sys
import warnings

import torch
from reference_unet import StarUNet

warnings.filterwarnings('ignore')
torch.manual_seed(2024)
net = StarUNet().eval()
axes = {0: 'n', 2: 'h', 3: 'w'}
torch.onnx.export(net, torch.rand(1, 3, 96, 96), sys.argv[1], opset_version=13, input_names=['image'],
                  output_names=['logits'], dynamic_axes={'image': axes, 'logits': axes})
