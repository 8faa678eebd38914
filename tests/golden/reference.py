"""The reference: everything that unetstar's model options and losses offer, written in PyTorch the plain way."""
import torch
import torch.nn as nn
import torch.nn.functional as F

DEFAULTS = dict(in_channels=1, classes=2, levels=4, fusion="star", activation="none", norm="batch",
                upsampling="nearest", full_resolution_head=0, deep_supervision=0, norm_groups=8, narrow=0.5,
                channel_multiplier=1.0, leaky_slope=0.01, block="double_conv", block_expansion=3,
                fusion_norm=0)


def widths(o):
    return [int(64 * 2 ** k * o["channel_multiplier"] * o["narrow"]) for k in range(o["levels"])]


def group_count(channels, groups):
    """norm_groups, or where it does not divide the channels the largest divisor below it."""
    return max(g for g in range(1, groups + 1) if channels % g == 0)


def norm_layer(o, c):
    return {"batch": lambda: nn.BatchNorm2d(c), "instance": lambda: nn.InstanceNorm2d(c, affine=True),
            "group": lambda: nn.GroupNorm(group_count(c, o["norm_groups"]), c)}[o["norm"]]()


def activation_layer(o):
    return {"relu": lambda: nn.ReLU(), "leaky_relu": lambda: nn.LeakyReLU(o["leaky_slope"]),
            "relu6": lambda: nn.ReLU6(), "silu": lambda: nn.SiLU(), "gelu": lambda: nn.GELU()}[o["activation"]]()


def double_conv(o, cin, cout):
    layers = []
    for a, b in ((cin, cout), (cout, cout)):
        layers.append(nn.Conv2d(a, b, 3, 1, 1, bias=True))
        if o["norm"] != "none":
            layers.append(norm_layer(o, b))
        if o["activation"] != "none":
            layers.append(activation_layer(o))
    return nn.Sequential(*layers)


class Block(nn.Module):
    """What a stage of encoder or decoder begins with."""

    def __init__(self, o, cin, cout):
        super().__init__()
        self.star = o["block"] != "double_conv"
        if not self.star:
            self.conv = double_conv(o, cin, cout)
            return
        wide = o["block_expansion"] * cout
        norm = [] if o["norm"] == "none" else [norm_layer(o, cout)]
        self.project = None
        if o["block"] == "star_depthwise":
            self.project = nn.Sequential(nn.Conv2d(cin, cout, 1, bias=True))
            self.lead = nn.Sequential(nn.Conv2d(cout, cout, 3, 1, 1, bias=True, groups=cout), *norm)
        else:
            self.lead = nn.Sequential(nn.Conv2d(cin, cout, 3, 1, 1, bias=True), *norm)
        act = [] if o["activation"] == "none" else [activation_layer(o)]
        self.f1 = nn.Sequential(nn.Conv2d(cout, wide, 1, bias=True), *act)
        self.f2 = nn.Sequential(nn.Conv2d(cout, wide, 1, bias=True))
        norm = [] if o["norm"] == "none" else [norm_layer(o, cout)]
        self.g = nn.Sequential(nn.Conv2d(wide, cout, 1, bias=True), *norm)

    def block(self, x):
        if not self.star:
            return self.conv(x)
        x = self.lead(x if self.project is None else self.project(x))
        return x + self.g(self.f1(x) * self.f2(x))


class Encoder(Block):
    def __init__(self, o, cin, cout):
        super().__init__(o, cin, cout)
        self.down = nn.MaxPool2d(2, 2)

    def forward(self, x):
        skip = self.block(x)
        return self.down(skip), skip


class Decoder(Block):
    """up: None for the block at full resolution, which is followed by the head."""

    def __init__(self, o, cin, cout, up=True, fused=True):
        super().__init__(o, cin, cout)
        if not up:
            self.up = None
        elif o["upsampling"] == "nearest":
            self.up = nn.Upsample(scale_factor=2, mode="nearest")
        elif o["upsampling"] == "bilinear":
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        else:
            self.up = nn.ConvTranspose2d(cout, cout, 2, 2)
        if o["fusion_norm"] and fused:
            self.norm = norm_layer(o, cout)

    def forward(self, x):
        features = self.block(x)
        return (features if self.up is None else self.up(features)), features


def fuse(o, up, skip):
    if o["fusion"] == "concat":
        return torch.cat([up, skip], 1)
    return up * skip if o["fusion"] == "star" else up + skip


class UNet(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.o = o = {**DEFAULTS, **options}
        c, n = widths(o), o["levels"]
        wide = 2 if o["fusion"] == "concat" else 1
        self.encoder = nn.ModuleList([Encoder(o, a, b) for a, b in zip([o["in_channels"]] + c[:-1], c)])
        outs = [c[-1]] + c[-2::-1]
        ins = [c[-1]] + [c[i] * wide for i in range(n - 1, 0, -1)]
        fused = [i < n - 1 or o["full_resolution_head"] for i in range(n)]
        blocks = [Decoder(o, a, b, fused=f) for a, b, f in zip(ins, outs, fused)]
        if o["full_resolution_head"]:
            blocks.append(Decoder(o, c[0] * wide, c[0], up=False, fused=False))
            outs.append(c[0])
        self.decoder = nn.ModuleList(blocks)
        self.out = nn.Conv2d(c[0], o["classes"], 1)
        if o["deep_supervision"]:
            self.feats = nn.ModuleList([nn.Conv2d(b, o["classes"], 1) for b in outs[:-1]])

    def forward(self, x):
        """Logits of the head, and in a list those of every earlier decoder stage at full resolution."""
        h, w = x.shape[2:]
        m = 2 ** self.o["levels"]
        x = F.pad(x, (0, -w % m, 0, -h % m))
        full, skips, extra = x.shape[2:], [], []
        for block in self.encoder:
            x, skip = block(x)
            skips.append(skip)
        for i, block in enumerate(self.decoder):
            x, features = block(x)
            if self.o["deep_supervision"] and i < len(self.decoder) - 1:
                logits = self.feats[i](features)
                logits = F.interpolate(logits, scale_factor=full[0] // logits.shape[2], mode="nearest")
                extra.append(logits[:, :, :h, :w])
            skip = skips.pop() if skips else None
            if block.up is not None and (skips or self.o["full_resolution_head"]):
                x = fuse(self.o, x, skip)
                if self.o["fusion_norm"]:
                    x = block.norm(x)
        return self.out(x)[:, :, :h, :w], extra

    def fixed_biases(self):
        """Names of the conv biases that batch and instance norm make irrelevant: their gradient is exactly zero, and the
        library leaves them as they are. (With group norm it is not.)"""
        if self.o["norm"] not in ("batch", "instance"):
            return []
        return [f"{p}.{i}.bias" for p, m in self.named_modules() if isinstance(m, nn.Sequential)
                for i in range(len(m) - 1) if isinstance(m[i + 1], (nn.BatchNorm2d, nn.InstanceNorm2d))]


def probability(logits):
    """What a session gives: the vessel's probability for one or two classes, else all of them."""
    if logits.shape[1] == 1:
        return torch.sigmoid(logits)
    p = torch.softmax(logits, 1)
    return p[:, 1:] if logits.shape[1] == 2 else p


LOSS_DEFAULTS = dict(cross_entropy=1.0, focal=0.0, dice=0.0, focal_gamma=2.0, class_weights=())


def loss(logits, labels, mask, **options):
    """Weighted sum of cross-entropy, focal loss and Dice loss over the pixels where mask is not 0 (None: all)."""
    o = {**LOSS_DEFAULTS, **options}
    n, c = logits.shape[:2]
    inside = torch.ones_like(labels, dtype=torch.bool) if mask is None else mask != 0
    if not inside.any():
        return logits.sum() * 0
    z = logits.permute(0, 2, 3, 1)[inside]  # (pixels, classes)
    y = labels[inside].long()
    if c == 1:
        log_py = torch.where(y > 0, F.logsigmoid(z[:, 0]), F.logsigmoid(-z[:, 0]))
        p, t = torch.sigmoid(z), y[:, None].to(z.dtype)
    else:
        log_py = F.log_softmax(z, 1).gather(1, y[:, None])[:, 0]
        p, t = torch.softmax(z, 1)[:, 1:], F.one_hot(y, c)[:, 1:].to(z.dtype)
    weights = torch.tensor(list(o["class_weights"]) or [1.0] * max(c, 2), dtype=z.dtype)[y]
    total = 0
    if o["cross_entropy"]:
        ce = -(weights * log_py).sum() / weights.sum()
        if c > 1:  # the same as PyTorch's own
            own = F.cross_entropy(z, y, torch.tensor(list(o["class_weights"]) or [1.0] * c, dtype=z.dtype))
            assert torch.allclose(ce, own, rtol=1e-5, atol=1e-6)
        total = total + o["cross_entropy"] * ce
    if o["focal"]:
        total = total + o["focal"] * (-(1 - log_py.exp()) ** o["focal_gamma"] * log_py).mean()
    if o["dice"]:
        dice = 1 - (2 * (p * t).sum(0) + 1) / (p.sum(0) + t.sum(0) + 1)
        total = total + o["dice"] * dice.mean()
    return total


def total_loss(outputs, labels, mask, deep_supervision_weight=0.5, **options):
    main, extra = outputs
    total = loss(main, labels, mask, **options)
    if extra:
        total = total + deep_supervision_weight * sum(loss(e, labels, mask, **options) for e in extra) / len(extra)
    return total
