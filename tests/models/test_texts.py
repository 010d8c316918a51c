"""Networks for texts: n-grams counted by hand, padding that changes nothing, both directions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gradlab.models import create
from gradlab.models.texts import BagOfNgrams, BiLSTM, ngrams

V = 30


def padded(x: torch.Tensor, more: int) -> torch.Tensor:
    return nn.functional.pad(x, (0, more))


def test_equal_ngrams_have_equal_numbers_and_padding_has_none():
    x = torch.tensor([[4, 5, 6, 4, 5, 0, 0], [6, 4, 5, 6, 4, 5, 7]])
    two, three = ngrams(x, 3, 1 << 40)
    assert two.shape == (2, 6) and three.shape == (2, 5)
    assert two[0, 0] == two[0, 3] == two[1, 1] and three[0, 2] == three[1, 0]
    assert two[0, 4:].tolist() == [0, 0] and three[0, 3:].tolist() == [0, 0]
    assert len(set(two[1].tolist())) == 4 and (two[1] > 0).all()  # 6 4, 4 5, 5 6, 5 7
    assert not set(two.flatten().tolist()) & set(three.flatten().tolist()) - {0}


def test_few_buckets_are_all_used_about_equally():
    x = torch.randint(2, 1000, (50, 200), generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(ngrams(x, 2, 16)[0].flatten(), minlength=17)
    assert counts[0] == 0 and counts[1:].min() > 0.8 * counts[1:].max()


@pytest.mark.parametrize("name", ["bag_of_ngrams", "nbsvm", "text_cnn", "bilstm"])
def test_padding_changes_no_answer(name):
    torch.manual_seed(0)
    small = {"buckets": 100} if name in ("bag_of_ngrams", "nbsvm") else {}
    model = create(name, inputs=(0, V), outputs=2, **small).eval()
    if name == "nbsvm":
        nn.init.normal_(model.weight)
        nn.init.normal_(model.ratio[:, 1:])
    x = torch.randint(2, V, (3, 8))
    with torch.no_grad():
        torch.testing.assert_close(model(padded(x, 5)), model(x))
        alone = torch.cat([model(x[n : n + 1]) for n in range(3)])
        torch.testing.assert_close(alone, model(x))
        assert model(torch.tensor([[5]])).isfinite().all()  # a single word
        assert model(torch.zeros(1, 4, dtype=torch.int64)).isfinite().all()  # no word at all


def test_a_bag_is_the_mean_of_its_words_and_bigrams():
    torch.manual_seed(0)
    model = BagOfNgrams(V, 2, grams=2, buckets=50, width=4, dropout=0.0).eval()
    x = torch.tensor([[3, 7, 7]])
    codes = ngrams(x, 2, 50)[0][0]
    vectors = [model.words.weight[n] for n in (3, 7, 7)] + [model.ngrams.weight[n] for n in codes]
    expected = model.head(torch.stack(vectors).mean(0))
    torch.testing.assert_close(model(x)[0], expected)


def test_log_count_ratios_against_a_hand_computation():
    model = create("nbsvm", inputs=(0, 6), outputs=2, grams=1)
    texts = torch.tensor([[2, 3, 3], [2, 4, 0], [3, 5, 0], [3, 3, 3]])
    labels = torch.tensor([0, 0, 1, 1])
    model.initialise_from_examples([(texts[:2], labels[:2]), (texts[2:], labels[2:])])
    # A text counts a word once: class 0 has 2 twice, 3 and 4; class 1 has 3 twice and 5.
    first = {2: 3, 3: 2, 4: 2, 5: 1}
    second = {2: 1, 3: 3, 4: 1, 5: 2}
    sums = [sum(one.values()) + 2 for one in (first, second)]  # padding and unknown have 1 too
    for word in first:
        ratio = math.log(second[word] / sums[1]) - math.log(first[word] / sums[0])
        assert float(model.ratio[0, word]) == pytest.approx(ratio, rel=1e-5)
    assert model.ratio[0, :2].tolist() == [0, 0]
    with torch.no_grad():
        model.weight.fill_(1.0)  # naive Bayes itself
    scores = model(texts)
    assert (scores.argmax(1) == labels).all()
    expected = float(model.ratio[0, 2] + model.ratio[0, 3])
    assert float((scores[0, 1] - scores[0, 0]).detach()) == pytest.approx(expected, rel=1e-5)


def test_what_an_lstm_of_two_directions_and_layers_gives():
    """output: N T 2H, both directions of the last layer; h: 2L N H, layer by layer."""
    torch.manual_seed(0)
    lstm = nn.LSTM(5, 3, 2, batch_first=True, bidirectional=True)
    output, (h, c) = lstm(torch.randn(4, 7, 5))
    assert output.shape == (4, 7, 6) and h.shape == c.shape == (4, 4, 3)
    torch.testing.assert_close(output[:, -1, :3], h[2])  # forwards: the last step
    torch.testing.assert_close(output[:, 0, 3:], h[3])  # backwards: the first step


@pytest.mark.parametrize("pool", ["last", "max", "mean"])
def test_a_bilstm_pools_the_states_of_the_words_alone(pool):
    torch.manual_seed(0)
    model = BiLSTM(V, 2, width=5, hidden=3, layers=1, dropout=0.0, pool=pool).eval()
    x = torch.tensor([[4, 9, 2, 0, 0], [5, 6, 7, 8, 9]])
    states, (h, _) = model.lstm(model.embedding(x[:1, :3]))
    expected = {
        "last": torch.cat([h[0], h[1]], 1), "max": states.amax(1), "mean": states.mean(1),
    }[pool]  # fmt: skip
    torch.testing.assert_close(model(x)[:1], model.head(expected))
