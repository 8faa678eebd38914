"""Golden values of the layer primitives and losses: called by make_golden.py."""
import numpy as np
import torch
import torch.nn.functional as F

from goldfile import Fill, Sample, options_text, uniform, write
from reference import loss

CAP = 160


class Book:
    """Collects the records; inputs are made by seed, so a case costs little more than its outputs."""

    def __init__(self):
        self.records, self.names, self.seed = {}, [], 5000

    def case(self, name, **args):
        self.name = name
        self.names.append(name)
        self.records[name + ".args"] = options_text(args)

    def input(self, field, shape, low=-1.0, high=1.0):
        """A float64 leaf tensor with exactly the values of the file."""
        self.seed += 1
        f = Fill(self.seed, shape, low, high)
        self.records[f"{self.name}.{field}"] = f
        return torch.from_numpy(f.values).double().requires_grad_()

    def given(self, field, array):
        a = np.asarray(array)
        self.records[f"{self.name}.{field}"] = a
        return torch.from_numpy(a).double().requires_grad_() if a.dtype == np.float32 else torch.from_numpy(a)

    def output(self, field, tensor):
        self.records[f"{self.name}.{field}"] = Sample(tensor.detach().numpy(), CAP)

    def backward(self, y, **leaves):
        """Stores y and the gradients of the leaves (by output name) for a random dy."""
        self.output("y", y)
        dy = self.input("dy", tuple(y.shape))
        for name, g in zip(leaves, torch.autograd.grad(y, list(leaves.values()), dy.detach())):
            self.output(name, g)


def convolutions(b):
    # n, c, h, w, c_out, kernel, stride, padding, dilation, groups, bias
    table = {
        "conv_3x3": (2, 5, 11, 9, 7, (3, 3), (1, 1), (1, 1), 1, 1, 1),
        "conv_3x3_blocks": (1, 35, 14, 19, 49, (3, 3), (1, 1), (1, 1), 1, 1, 1),
        "conv_3x3_nobias": (3, 16, 6, 33, 16, (3, 3), (1, 1), (1, 1), 1, 1, 0),
        "conv_3x3_tiny": (2, 3, 1, 2, 4, (3, 3), (1, 1), (1, 1), 1, 1, 1),
        "conv_stride2": (2, 3, 11, 8, 5, (3, 3), (2, 2), (1, 1), 1, 1, 1),
        "conv_dilation2": (2, 4, 9, 10, 3, (3, 3), (1, 1), (2, 2), 2, 1, 1),
        "conv_groups2": (2, 6, 7, 8, 4, (3, 3), (1, 1), (1, 1), 1, 2, 1),
        "conv_depthwise": (1, 5, 6, 7, 5, (3, 3), (1, 1), (1, 1), 1, 5, 0),
        "conv_1x1": (2, 19, 5, 6, 3, (1, 1), (1, 1), (0, 0), 1, 1, 1),
        "conv_5x3": (2, 3, 8, 9, 4, (5, 3), (1, 1), (2, 1), 1, 1, 1),
        "conv_mixed": (1, 4, 13, 12, 6, (4, 2), (2, 1), (0, 3), 2, 2, 1),
        "conv_3x3_valid": (1, 2, 5, 6, 3, (3, 3), (1, 1), (0, 0), 1, 1, 1),
    }
    for name, (n, c, h, w, co, k, s, p, d, g, bias) in table.items():
        b.case(name, n=n, c=c, h=h, w=w, c_out=co, kernel_h=k[0], kernel_w=k[1], stride_h=s[0], stride_w=s[1],
               padding_h=p[0], padding_w=p[1], dilation=d, groups=g, bias=bias)
        x, weight = b.input("x", (n, c, h, w)), b.input("weight", (co, c // g, *k))
        leaves = dict(dx=x, dweight=weight)
        if bias:
            leaves["dbias"] = b.input("bias", (co,))
        b.backward(F.conv2d(x, weight, leaves.get("dbias"), s, p, d, g), **leaves)


def linears(b):
    table = {"linear": (5, 7, 3, 1), "linear_wide": (3, 70, 33, 0), "linear_one": (1, 1, 1, 1)}
    for name, (n, c, co, bias) in table.items():
        b.case(name, n=n, c=c, c_out=co, bias=bias)
        x, weight = b.input("x", (n, c)), b.input("weight", (co, c))
        leaves = dict(dx=x, dweight=weight)
        if bias:
            leaves["dbias"] = b.input("bias", (co,))
        b.backward(F.linear(x, weight, leaves.get("dbias")), **leaves)


def norms(b):
    # kind, n, c, h, w, groups, affine, offset of the input, eps
    table = {
        "batch_norm": ("batch", 3, 5, 7, 6, 0, 1, 0.0, 1e-5),
        "batch_norm_plain": ("batch", 2, 17, 4, 5, 0, 0, 0.0, 1e-5),
        "batch_norm_offset": ("batch", 2, 3, 9, 11, 0, 1, 30.0, 1e-3),
        "batch_norm_two_values": ("batch", 2, 4, 1, 1, 0, 1, 0.0, 1e-2),
        "group_norm": ("group", 2, 6, 5, 7, 3, 1, 0.0, 1e-5),
        "group_norm_instance": ("group", 2, 5, 6, 6, 5, 1, 0.0, 1e-5),
        "group_norm_plain": ("group", 1, 36, 3, 4, 4, 0, 2.0, 1e-5),
        "layer_norm": ("layer", 3, 5, 4, 6, 0, 1, 0.0, 1e-5),
        "layer_norm_plain": ("layer", 2, 18, 3, 3, 0, 0, -3.0, 1e-5),
    }
    for name, (kind, n, c, h, w, groups, affine, offset, eps) in table.items():
        eps = float(np.float32(eps))
        b.case(name, n=n, c=c, h=h, w=w, groups=groups, affine=affine, eps=eps, momentum=0.25)
        x = b.input("x", (n, c, h, w), offset - 1.5, offset + 1.0)
        leaves, gamma, beta = dict(dx=x), None, None
        if affine:
            gamma, beta = b.input("gamma", (c,), 0.5, 2), b.input("beta", (c,))
            leaves.update(dgamma=gamma, dbeta=beta)
        if kind == "batch":
            mean = b.input("running_mean", (c,)).detach().clone()
            var = b.input("running_var", (c,), 0.5, 2).detach().clone()
            y = F.batch_norm(x, mean, var, gamma, beta, True, 0.25, eps)
            b.output("new_mean", mean)
            b.output("new_var", var)
        elif kind == "group":
            y = F.group_norm(x, groups, gamma, beta, eps)
        else:
            y = F.group_norm(x, 1, gamma, beta, eps)
        b.backward(y, **leaves)


def activations(b):
    # Kinks too: PyTorch's derivative is 0 at 0 of ReLU and at 0 and 6 of ReLU6, and the slope at 0 of leaky ReLU.
    special = [0.0, -0.0, 6.0, 1e-30, -1e-30, 3.0, -3.0, 5.9999995, 6.0000005, 20.0, -20.0, 90.0, -90.0, 1e4, -1e4]
    x0 = np.concatenate([np.array(special), 14 * uniform(77, 140) - 7]).astype(np.float32)
    table = {
        "act_none": (0, 0.0, lambda x: x * 1),
        "act_relu": (1, 0.0, F.relu),
        "act_leaky_relu": (2, 0.01, lambda x: F.leaky_relu(x, float(np.float32(0.01)))),
        "act_leaky_relu_steep": (2, 0.3, lambda x: F.leaky_relu(x, float(np.float32(0.3)))),
        "act_relu6": (3, 0.0, F.relu6),
        "act_silu": (4, 0.0, F.silu),
        "act_gelu": (5, 0.0, F.gelu),
    }
    for name, (kind, slope, f) in table.items():
        b.case(name, activation=kind, slope=float(np.float32(slope)), count=len(x0))
        x = b.given("x", x0)
        b.backward(f(x), dx=x)


def pools(b):
    for name, (n, c, h, w, steps) in {"max_pool": (2, 5, 8, 6, 0), "max_pool_ties": (1, 3, 10, 12, 3),
                                      "max_pool_tiny": (1, 18, 2, 2, 2)}.items():
        b.case(name, n=n, c=c, h=h, w=w)
        x0 = 2 * uniform(b.seed + 99, n * c * h * w).reshape(n, c, h, w) - 1
        x = b.given("x", (np.round(x0 * steps) / steps if steps else x0).astype(np.float32))
        b.backward(F.max_pool2d(x, 2, 2), dx=x)


def upsamplings(b):
    for mode, kind in (("nearest", 0), ("bilinear", 1)):
        for tag, (n, c, h, w) in {"": (2, 3, 5, 4), "_one": (1, 2, 1, 1), "_row": (1, 19, 1, 7)}.items():
            b.case(f"up_{mode}{tag}", mode=kind, n=n, c=c, h=h, w=w)
            x = b.input("x", (n, c, h, w))
            extra = dict(align_corners=False) if kind else {}
            b.backward(F.interpolate(x, scale_factor=2, mode=mode, **extra), dx=x)
    table = {"conv_transpose": (2, 5, 4, 6, 3, 1), "conv_transpose_wide": (1, 20, 3, 2, 33, 0)}
    for name, (n, c, h, w, co, bias) in table.items():
        b.case(name, n=n, c=c, h=h, w=w, c_out=co, bias=bias)
        x, weight = b.input("x", (n, c, h, w)), b.input("weight", (c, co, 2, 2))
        leaves = dict(dx=x, dweight=weight)
        if bias:
            leaves["dbias"] = b.input("bias", (co,))
        b.backward(F.conv_transpose2d(x, weight, leaves.get("dbias"), 2), **leaves)


def fusions(b):
    n, ca, cb, h, w = 2, 3, 18, 4, 5
    for name, f in {"add": torch.add, "multiply": torch.mul}.items():
        b.case(name, count=n * ca * h * w)
        a, c = b.input("a", (n, ca, h, w)), b.input("b", (n, ca, h, w))
        b.backward(f(a, c), da=a, db=c)
    b.case("concat", n=n, ca=ca, cb=cb, h=h, w=w)
    a, c = b.input("a", (n, ca, h, w)), b.input("b", (n, cb, h, w))
    b.backward(torch.cat([a, c], 1), da=a, db=c)


def softmaxes(b):
    table = {"softmax": (5, 4.0), "softmax_two": (2, 8.0), "softmax_far": (3, 200.0), "softmax_one": (1, 12.0)}
    for name, (c, reach) in table.items():
        b.case(name, n=2, c=c, h=6, w=7)
        z = b.input("x", (2, c, 6, 7), -reach, reach)
        b.backward(torch.sigmoid(z) if c == 1 else torch.softmax(z, 1), dx=z)


def losses(b):
    # c, reach of the logits, share of the mask (None: no mask), options
    table = {
        "loss_ce": (2, 3.0, None, {}),
        "loss_ce_masked": (2, 3.0, 0.6, {}),
        "loss_ce_three": (3, 3.0, None, {}),
        "loss_ce_eight": (8, 3.0, 0.5, {}),
        "loss_ce_far": (2, 150.0, None, {}),
        "loss_ce_weighted": (2, 3.0, None, dict(class_weights=(0.2, 1.9))),
        "loss_ce_weighted_masked": (4, 3.0, 0.5, dict(class_weights=(0.5, 1.0, 2.0, 0.0), cross_entropy=0.8)),
        "loss_bce": (1, 3.0, None, {}),
        "loss_bce_far": (1, 150.0, 0.7, {}),
        "loss_bce_weighted": (1, 3.0, None, dict(class_weights=(0.4, 1.6))),
        "loss_focal": (2, 3.0, None, dict(cross_entropy=0.0, focal=1.0)),
        "loss_focal_gamma": (3, 3.0, 0.5, dict(cross_entropy=0.0, focal=0.7, focal_gamma=0.5)),
        "loss_focal_gamma0": (2, 3.0, None, dict(cross_entropy=0.0, focal=1.0, focal_gamma=0.0)),
        "loss_focal_one": (1, 4.0, None, dict(cross_entropy=0.0, focal=1.0, focal_gamma=3.0)),
        "loss_dice": (2, 3.0, None, dict(cross_entropy=0.0, dice=1.0)),
        "loss_dice_three": (3, 3.0, 0.5, dict(cross_entropy=0.0, dice=1.0)),
        "loss_dice_one": (1, 3.0, 0.6, dict(cross_entropy=0.0, dice=2.0)),
        "loss_sum": (2, 3.0, 0.6, dict(cross_entropy=0.5, focal=0.25, dice=1.25)),
        "loss_sum_weighted": (4, 2.0, None, dict(cross_entropy=0.5, focal=1.5, dice=0.5, focal_gamma=1.0,
                                                 class_weights=(1.0, 2.0, 3.0, 4.0))),
        "loss_sum_one": (1, 2.0, 0.4, dict(cross_entropy=1.0, focal=1.0, dice=1.0)),
        "loss_one_pixel": (2, 3.0, "one", dict(dice=1.0)),
        "loss_empty": (3, 3.0, 0.0, dict(focal=1.0, dice=1.0)),
    }
    n, h, w = 2, 7, 9
    for name, (c, reach, share, options) in table.items():
        text = dict(cross_entropy=1.0, focal=0.0, dice=0.0, focal_gamma=2.0)
        text.update({k: v for k, v in options.items() if k != "class_weights"})
        # what the library sees are floats
        exact = {k: float(np.float32(v)) for k, v in text.items()}
        weights = tuple(float(np.float32(v)) for v in options.get("class_weights", ()))
        b.case(name, n=n, c=c, h=h, w=w, **exact, **{f"class_weight{i}": v for i, v in enumerate(weights)})
        z = b.input("x", (n, c, h, w), -reach, reach)
        labels = b.given("labels", (uniform(b.seed + 300, n * h * w) * max(c, 2)).astype(np.uint8).reshape(n, h, w))
        mask = None
        if share is not None:
            u = uniform(b.seed + 400, n * h * w).reshape(n, h, w)
            m = np.where(u == u.min() if share == "one" else u < share, 255, 0).astype(np.uint8)
            mask = b.given("mask", m)
        value = loss(z, labels, mask, **exact, class_weights=weights)
        b.records[name + ".loss"] = np.array([float(value)])
        b.output("dx", torch.autograd.grad(value, z)[0])


def make(path):
    b = Book()
    for part in (convolutions, linears, norms, activations, pools, upsamplings, fusions, softmaxes, losses):
        part(b)
    b.records["index"] = "".join(name + "\n" for name in b.names)
    write(path, b.records)
