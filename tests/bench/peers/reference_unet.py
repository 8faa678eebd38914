"""The network in PyTorch: four encoder and four decoder stages of two 3x3 convolutions, each with batch norm and perhaps ReLU;
skip connections meet the upsampled map by sum, product ("star") or concatenation. Parameter names are those of a weights file."""
import torch
import torch.nn as nn

WIDTHS = (64, 128, 256, 512)


def double_conv(cin, cout, relu):
    layers = []
    for a, b in ((cin, cout), (cout, cout)):
        layers += [nn.Conv2d(a, b, 3, 1, 1, bias=True), nn.BatchNorm2d(b)]
        if relu:
            layers.append(nn.ReLU(inplace=True))
    return layers


class Encoder(nn.Module):
    def __init__(self, cin, cout, relu):
        super().__init__()
        self.conv = nn.Sequential(*double_conv(cin, cout, relu))
        self.down = nn.MaxPool2d(2, 2)

    def forward(self, x):
        skip = self.conv(x)
        return self.down(skip), skip


class Decoder(nn.Module):
    def __init__(self, cin, cout, relu):
        super().__init__()
        self.conv = nn.Sequential(*double_conv(cin, cout, relu), nn.Upsample(scale_factor=2, mode='nearest'))

    def forward(self, x):
        return self.conv(x)


class StarUNet(nn.Module):
    def __init__(self, in_channels=3, classes=2, narrow=0.5, fusion='star', relu=False):
        super().__init__()
        c = [int(w * narrow) for w in WIDTHS]
        self.fusion = fusion
        wide = 2 if fusion == 'concat' else 1
        self.encoder = nn.ModuleList([Encoder(a, b, relu) for a, b in zip([in_channels] + c[:3], c)])
        self.decoder = nn.ModuleList([Decoder(c[3], c[3], relu)] +
                                     [Decoder(c[i] * wide, c[i - 1], relu) for i in (3, 2, 1)])
        self.out = nn.Conv2d(c[0], classes, 1)

    def forward(self, x):
        skips = []
        for encoder in self.encoder:
            x, skip = encoder(x)
            skips.append(skip)
        skips.reverse()
        for i, decoder in enumerate(self.decoder):
            x = decoder(x)
            if i < 3:
                skip = skips[i]
                x = x * skip if self.fusion == 'star' else x + skip if self.fusion == 'sum' else torch.cat([x, skip], 1)
        return self.out(x)  # logits
