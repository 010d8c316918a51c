"""What one batch tells of a model, an optimizer and the inputs; and that it leaves no trace."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gradlab.errors import UserError
from gradlab.insight import Finding, preflight, refuse


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def images(generator, n=8, channels=1, size=12):
    return torch.randn(n, channels, size, size, generator=generator), torch.arange(n) % 3


class Net(nn.Module):
    """A network with all that a forward pass changes: running statistics, dropout, a counter."""

    def __init__(self, features=36, frozen=False):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout()
        self.fc = nn.Linear(features, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen = self.seen + len(x)
        x = F.max_pool2d(self.norm(self.conv(x)).relu(), 3)
        return self.fc(self.drop(x.flatten(1)))


def found(model, x, y, optimizer=None, loss=F.cross_entropy):
    return preflight(model, loss, x, y, optimizer)


def codes(*given, **options):
    return [finding.code for finding in found(*given, **options)]


def same(one, other):
    return one.dtype == other.dtype and one.numpy().tobytes() == other.numpy().tobytes()


@pytest.mark.parametrize("fault", [None, "loss", "forward", "gradient"])
def test_no_trace_is_left(generator, fault):
    x, y = images(generator)
    model = Net()
    model.norm.eval()  # a mode of its own, which has to come back
    model.fc.bias.requires_grad_(False)
    F.cross_entropy(model(x), y).backward()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    optimizer.step()
    if fault == "forward":
        model.fc = nn.Linear(7, 3)
    loss = {"loss": lambda o, y: o @ o, "gradient": lambda o, y: (o * 0).sqrt().sum()}.get(fault)
    loss = loss or F.cross_entropy

    given = x.clone(), y.clone()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    buffers = {name: id(b) for name, b in model.named_buffers()}
    state = copy.deepcopy(model.state_dict())
    values = {name: g.clone() for name, g in gradients.items() if g is not None}
    learnt = copy.deepcopy(optimizer.state_dict())
    modes = [module.training for module in model.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    rng = torch.get_rng_state()

    findings = preflight(model, loss, x, y, optimizer)
    assert bool(findings) == (fault is not None)

    assert same(x, given[0]) and same(y, given[1])
    for name, value in model.state_dict().items():
        assert same(value, state[name]), name
    for name, parameter in model.named_parameters():
        assert parameter.grad is gradients[name]
        assert parameter.grad is None or same(parameter.grad, values[name])
        assert not parameter._backward_hooks
    assert {name: id(b) for name, b in model.named_buffers()} == buffers
    assert [module.training for module in model.modules()] == modes
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks
    assert torch.equal(torch.get_rng_state(), rng)
    after = optimizer.state_dict()
    assert after["param_groups"] == learnt["param_groups"]
    for key, slots in learnt["state"].items():
        assert all(same(after["state"][key][slot], value) for slot, value in slots.items())


def test_training_after_a_preflight_is_the_training_without(generator):
    x, y = images(generator)

    def train(look):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        torch.manual_seed(1)
        if look:
            assert found(model, x, y, optimizer) == []
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        return model.state_dict()

    plain, looked = train(False), train(True)
    assert all(same(plain[name], looked[name]) for name in plain)


def test_it_works_without_gradients_switched_on(generator):
    x, y = images(generator)
    with torch.no_grad():
        assert found(Net(), x, y) == []


def test_a_parameter_changed_by_the_forward_pass_comes_back(generator):
    class Clamped(nn.Linear):
        def forward(self, x):
            with torch.no_grad():
                self.weight.clamp_(-0.01, 0.01)
            return super().forward(x)

    model = Clamped(4, 3)
    before = model.weight.detach().clone()
    preflight(model, F.cross_entropy, torch.randn(6, 4, generator=generator), torch.arange(6) % 3)
    assert same(model.weight.detach(), before)


def test_a_layer_that_works_in_place_leaves_the_batch_alone(generator):
    x, y = images(generator)
    before = x.clone()
    preflight(nn.Sequential(nn.ReLU(inplace=True), Net()), F.cross_entropy, x, y)
    assert same(x, before)


def test_parameters_without_gradient_are_named(generator):
    x, y = images(generator)
    model = Net()
    model.forgotten = nn.Linear(2, 2)
    (finding,) = found(model, x, y)
    assert finding.code == "no-gradient" and finding.level == "error"
    assert "forgotten.weight, forgotten.bias" in finding.what
    model.forgotten.requires_grad_(False)
    assert found(model, x, y) == []


def test_many_names_are_cut_short(generator):
    x, y = images(generator)
    model = Net()
    model.forgotten = nn.ModuleList(nn.Linear(1, 1) for _ in range(20))
    (finding,) = found(model, x, y)
    assert finding.what.endswith("and 34 more")


def test_gradients_of_exactly_zero_are_a_warning(generator):
    class Gated(Net):
        def forward(self, x):
            return super().forward(x) + 0 * self.dead(x.flatten(1))

    x, y = images(generator)
    model = Gated()
    model.dead = nn.Linear(144, 3)
    (finding,) = found(model, x, y)
    assert (finding.level, finding.code) == ("warning", "zero-gradient")
    assert "dead.weight, dead.bias" in finding.what


def test_the_optimizer_is_compared_with_the_model(generator):
    x, y = images(generator)
    model = Net()
    assert codes(model, x, y, torch.optim.SGD(model.parameters(), lr=1.0)) == []
    (finding,) = found(model, x, y, torch.optim.SGD(model.conv.parameters(), lr=1.0))
    assert finding.code == "not-in-optimizer" and finding.level == "error"
    assert "norm.weight, norm.bias, fc.weight, fc.bias" in finding.what
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.fc = nn.Linear(36, 3)  # the head replaced too late
    assert codes(model, x, y, optimizer) == ["not-in-optimizer", "foreign-parameters"]


def test_parameters_of_the_loss_belong_to_it(generator):
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, output, y):
            return F.cross_entropy(output * self.scale, y)

    x, y = images(generator)
    model, loss = Net(), Weighted()
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], lr=1.0)
    assert codes(model, x, y, optimizer, loss=loss) == []


def test_a_model_with_nothing_to_train(generator):
    x, y = images(generator)

    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Flatten(), nn.Linear(144, 3)]  # a list hides them

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    assert "nothing-to-train" in codes(Hidden(), x, y)
    assert "ModuleList" in found(Hidden(), x, y)[0].fix


def test_lazy_parameters_are_not_touched(generator):
    x, y = images(generator)
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    assert codes(model, x, y) == ["lazy-parameters"]
    assert isinstance(model[1], nn.LazyLinear)


def test_another_device_is_said(generator):
    x, y = images(generator)
    (finding,) = found(Net(), x.to("meta"), y)
    assert finding.code == "other-device" and "meta" in finding.what and "cpu" in finding.fix


def test_a_loss_that_is_nan_says_where_it_comes_from(generator):
    x, y = images(generator)
    model = Net()
    with torch.no_grad():
        model.fc.weight[0, 0] = torch.nan
    (finding,) = found(model, x, y)
    assert finding.code == "loss-not-finite"
    assert "layer 'fc' (Linear): parameter 'weight' is nan" in finding.what
    assert codes(Net(), x.where(x > -2, torch.nan), y) == ["input-not-finite", "loss-not-finite"]

    def logarithm(output, y):
        return (output * 0).sum().log()

    (finding,) = found(Net(), x, y, loss=logarithm)
    assert finding.code == "loss-not-finite" and "outputs are finite" in finding.what


def test_a_gradient_that_is_nan_though_the_loss_is_not(generator):
    x, y = images(generator)
    findings = found(
        Net(), x, y, loss=lambda o, y: F.cross_entropy(o, y) + (o - o).norm(dim=1).sqrt().sum()
    )
    assert [finding.code for finding in findings] == ["gradient-not-finite"]
    assert "conv.weight" in findings[0].what


def test_an_operation_in_place_that_breaks_the_backward_pass(generator):
    class Broken(Net):
        def forward(self, x):
            y = super().forward(x).sigmoid()
            return y.mul_(2)

    x, y = images(generator)
    (finding,) = found(Broken(), x, y)
    assert finding.code == "backward-failed" and "inplace" in finding.what


@pytest.mark.parametrize(
    ("scale", "shift", "expected"),
    [(1, 0, []), (5, 3, []), (70, 0, ["input-scale"]), (1, 120, ["input-scale"])],
)
def test_inputs_far_from_normalised_are_a_warning(generator, scale, shift, expected):
    x, y = images(generator)
    assert codes(Net(), x * scale + shift, y) == expected
    normalising = nn.Sequential(nn.BatchNorm2d(1), Net())
    assert codes(normalising, x * scale + shift, y) == []


@pytest.mark.parametrize(
    ("layer", "x", "what", "fix"),
    [
        (nn.Linear(400, 3), (8, 256), "last size of 400", "in_features=256"),
        (nn.Conv2d(3, 4, 3), (8, 1, 9, 9), "N x 3 x H x W", "in_channels=1"),
        (nn.Conv2d(3, 4, 3), (8, 9, 9, 3), "N x 3 x H x W", "movedim(-1, 1)"),
        (nn.Conv2d(1, 4, 3), (8, 9, 9), "N x 1 x H x W", "unsqueeze(1)"),
        (nn.Conv2d(1, 4, 3), (8, 81), "N x 1 x H x W", "not flattened"),
        (nn.Conv2d(1, 4, 5), (8, 1, 3, 3), "kernel of 5 x 5", "larger images"),
        (nn.Conv1d(2, 4, 3), (8, 5, 9), "N x 2 x W", "in_channels=5"),
        (nn.BatchNorm1d(5), (8, 4), "second size (channels) of 5", "num_features=4"),
        (nn.BatchNorm1d(5), (1, 5), "more than one value a channel", "2 examples"),
        (nn.GroupNorm(2, 6), (8, 4), "second size (channels) of 6", "num_channels=4"),
        (nn.LSTM(5, 3), (8, 7, 4), "last size of 5", "input_size=4"),
    ],
)
def test_a_forward_pass_that_fails_names_the_layer_and_what_it_expects(
    generator, layer, x, what, fix
):
    model = nn.Sequential()
    model.add_module("mine", layer)
    x = torch.randn(*x, generator=generator)
    (finding,) = preflight(model, F.cross_entropy, x, torch.zeros(len(x), dtype=torch.int64))
    assert finding.code == "forward-failed"
    assert f"layer 'mine' ({type(layer).__name__}) failed" in finding.what
    assert " x ".join(map(str, x.shape)) in finding.what
    assert what in finding.what and fix in finding.fix


def test_inputs_of_the_wrong_type(generator):
    x, y = images(generator)
    (finding,) = found(Net(), (x * 255).to(torch.uint8), y)
    assert "layer 'conv' (Conv2d)" in finding.what and "float32" in finding.what
    assert "x.to(torch.float32)" in finding.fix
    words = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(8, 3))
    (finding,) = found(words, torch.full((8, 2), 10), y)
    assert "0 to 9" in finding.what and "num_embeddings=11" in finding.fix
    (finding,) = found(words, torch.ones(8, 2), y)
    assert "x.long()" in finding.fix


def test_a_failure_in_a_network_s_own_forward_pass(generator):
    class Own(Net):
        def forward(self, x):
            return super().forward(x).view(-1, 7)

    x, y = images(generator)
    (finding,) = found(Own(), x, y)
    assert "the model (Own) failed on an input of 8 x 1 x 12 x 12 float32" in finding.what
    assert "shape '[-1, 7]' is invalid" in finding.what


def test_a_failure_that_the_model_catches_is_its_own_affair(generator):
    class Careful(Net):
        def __init__(self):
            super().__init__()
            self.risky = nn.Identity()
            self.risky.register_forward_hook(self.fail)

        def fail(self, *_):
            raise ValueError

        def forward(self, x):
            try:
                x = self.risky(x)
            except ValueError:
                return super().forward(x)

    assert codes(Careful(), *images(generator)) == []


def test_outputs_that_are_no_tensor_are_left_to_the_loss(generator):
    class Two(Net):
        def forward(self, x):
            main = super().forward(x)
            return {"main": main, "aux": main * 2}

    def loss(output, y):
        return F.cross_entropy(output["main"], y) + 0.3 * F.cross_entropy(output["aux"], y)

    x, y = images(generator)
    assert codes(Two(), x, y, loss=loss) == []
    assert codes(Two(), x, y + 1, loss=loss) == ["labels-out-of-range"]


def test_refuse_names_every_error_and_hands_back_warnings():
    warning = Finding("warning", "input-scale", "the inputs are large", "normalise them")
    assert refuse([]) == []
    assert refuse([warning]) == [warning]
    errors = [Finding("error", "a-b", f"mistake {i}", f"fix {i}") for i in range(2)]
    with pytest.raises(UserError) as raised:
        refuse([errors[0], warning, errors[1]])
    message = str(raised.value)
    assert "mistake 0. Fix: fix 0." in message and "mistake 1. Fix: fix 1." in message
    assert "large" not in message
