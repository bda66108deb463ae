"""Ranks without processes: threads that exchange tensors do together what one rank does alone.

`test_ranks.py` trains with processes of their own.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from agreement import assert_agree, decisions_batchtopk, decisions_topk
from nanosae import distributed
from nanosae.distributed import Ranks
from nanosae.errors import ConfigError, LostRankError
from nanosae.kernels import cpu, reference
from nanosae.kernels.batchtopk import initial_threshold
from nanosae.train.forward import is_dense
from nanosae.train.step import _micro_batch_size

N_ROWS, WIDTH, N_LATENTS, K = 22, 8, 33, 4
PARALLEL = ["rows", "latents"]


class Exchange:
    """What the threads of some ranks share."""

    def __init__(self, size):
        self.barrier = threading.Barrier(size, timeout=20)
        self.tensors = [torch.empty(0)] * size

    def all(self, rank, tensor):
        self.tensors[rank] = tensor.detach().clone()
        self.barrier.wait()
        everything = list(self.tensors)
        self.barrier.wait()
        return everything


class ThreadRanks(Ranks):
    """A rank that communicates with other threads; all else is that of a process."""

    def __init__(self, rank, size, latents, exchange):
        super().__init__(rank, size, latents)
        self.exchange = exchange

    def _communicate(self, collective, *args):
        if collective is torch.distributed.all_reduce:
            (tensor,) = args
            tensor.copy_(torch.stack(self.exchange.all(self.rank, tensor)).sum(0))
        else:
            outputs, tensor = args
            for out, other in zip(
                outputs, self.exchange.all(self.rank, tensor), strict=True
            ):
                out.copy_(other)


def together(size, parallel, work):
    """Return what `work(rank)` gives on each of some ranks."""
    exchange = Exchange(size)
    ranks = [ThreadRanks(r, size, parallel == "latents", exchange) for r in range(size)]
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(work, ranks))


def problem(seed=0, exact=False):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(N_ROWS, WIDTH, generator=g)
    weight = torch.randn(N_LATENTS, WIDTH, generator=g)
    bias = 0.1 * torch.randn(N_LATENTS, generator=g)
    if exact:  # sums without rounding, and many ties
        x, weight, bias = (tensor.round() for tensor in (x, weight, bias))
    return x, weight, bias


def matrix(pairs, ranks):
    """The values at their places among all rows and latents."""
    dense = torch.zeros(N_ROWS, N_LATENTS)
    rows = ranks.own_rows(torch.arange(N_ROWS)).repeat_interleave(pairs.row_ptr.diff())
    latents = torch.arange(N_LATENTS)[ranks.own_latents(N_LATENTS)]
    dense[rows, latents[pairs.cols.long()]] = pairs.values
    return dense


def selected(size, parallel, name, problem_, kernels=cpu, **options):
    """What all ranks keep together, and the smallest kept value that each of them is told."""
    x, weight, bias = problem_

    def work(ranks):
        part = ranks.own_latents(N_LATENTS)
        args = (
            kernels,
            ranks.own_rows(x).contiguous(),
            weight[part].contiguous(),
            bias[part],
            K,
        )
        if name == "topk":
            return matrix(ranks.select_topk(*args), ranks), None
        pairs, smallest_kept = ranks.select_batchtopk(
            *args, options.get("thresholds", {})
        )
        return matrix(pairs, ranks), smallest_kept

    results = together(size, parallel, work)
    kept = torch.stack([dense for dense, _ in results])
    assert ((kept != 0).sum(0) <= 1).all()  # no entry is kept twice
    return kept.sum(0), [smallest for _, smallest in results]


def alone(name, problem_):
    x, weight, bias = problem_
    if name == "topk":
        return matrix(reference.select_topk(x, weight, bias, K), Ranks())
    return matrix(reference.select_batchtopk(x, weight, bias, K * N_ROWS), Ranks())


def decisions(name, x, weight, bias):
    if name == "topk":
        return decisions_topk(x, weight, bias, K)
    return decisions_batchtopk(x, weight, bias, K * N_ROWS)


@pytest.mark.parametrize("parallel", PARALLEL)
@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("name", ["topk", "batchtopk"])
@pytest.mark.parametrize("kernels", [cpu, reference])
def test_ranks_keep_together_what_one_process_keeps(parallel, size, name, kernels):
    for seed in range(5):
        made = problem(seed)
        kept, _ = selected(size, parallel, name, made, kernels)
        assert_agree(kept, alone(name, made), decisions(name, *made))


@pytest.mark.parametrize("parallel", PARALLEL)
@pytest.mark.parametrize("name", ["topk", "batchtopk"])
def test_of_equal_entries_ranks_keep_just_so_many(parallel, name):
    for seed in range(10):
        made = problem(seed, exact=True)
        kept, want = selected(3, parallel, name, made)[0], alone(name, made)
        assert torch.equal(kept[kept > 0].sort().values, want[want > 0].sort().values)
        if name == "topk":  # whose ties go to the lower latent, on whatever rank
            assert torch.equal(kept, want)


@pytest.mark.parametrize("parallel", PARALLEL)
@pytest.mark.parametrize("threshold", [None, 0.0, 1e-9, 0.5, 1e6])
def test_any_earlier_threshold_gives_the_same_and_all_ranks_learn_the_smallest_kept(
    parallel, threshold
):
    made = problem()
    want = alone("batchtopk", made)
    earlier = {} if threshold is None else {K: threshold}
    kept, smallest = selected(3, parallel, "batchtopk", made, thresholds=earlier)
    assert_agree(kept, want, decisions("batchtopk", *made))
    assert len(set(smallest)) == 1
    assert smallest[0] == kept[kept > 0].min()


def first_guesses(threshold):
    """Where ranks of 8, 7 and 7 rows would start, if each looked at its own rows alone."""
    earlier = {K: float(threshold)}
    return [initial_threshold(earlier, K, n_rows) or 0.0 for n_rows in (8, 7, 7)]


def test_ranks_with_unequal_rows_search_together():
    """A rank that searches once more than the others waits for them forever."""
    made = problem()
    want = alone("batchtopk", made)
    smallest = want[want > 0].min()
    threshold = 3.7 * smallest
    guesses = first_guesses(threshold)
    assert guesses[0] > smallest > guesses[1]
    kept, _ = selected(3, "rows", "batchtopk", made, thresholds={K: threshold})
    assert_agree(kept, want, decisions("batchtopk", *made))


@pytest.mark.parametrize("activation", ["relu", "gated"])
def test_ranks_with_unequal_latents_take_the_same_path(activation):
    for hidden_size, size in ((91, 2), (4097, 2), (100, 3)):
        config = SimpleNamespace(
            activation=activation, hidden_size=hidden_size, accumulate=1
        )
        for l0 in torch.linspace(0.0, 0.2 * hidden_size, 1000).tolist():
            choices = set()
            for rank in range(size):
                part = Ranks(rank, size, latents=True).own_latents(hidden_size)
                state: Any = SimpleNamespace(
                    config=config,
                    counters=SimpleNamespace(l0=l0),
                    n_latents=part.stop - part.start,
                )
                choices |= {(is_dense(state), _micro_batch_size(state, 10**6, True))}
            assert len(choices) == 1
        assert is_dense(state)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("n_rows", [1, 2, 7, 20, 61])
def test_the_first_rows_of_ranks_are_those_of_one_process(size, n_rows):
    batch = torch.arange(n_rows)
    n_first = -(-n_rows // 4)

    def work(ranks):
        own = ranks.own_rows(batch)
        n_own, weight = ranks.first_rows(own, 4)
        assert weight == n_rows / n_first
        return own[:n_own]

    found = together(size, "rows", work)
    assert torch.cat(found).sort().values.tolist() == list(range(n_first))
    if size > 1:
        for own in together(size, "latents", work):
            assert len(own) == n_first


@pytest.mark.parametrize("parallel", PARALLEL)
def test_ranks_that_differ_are_told_in_what(parallel, monkeypatch):
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "gloo")

    def work(ranks):
        step = 500 if ranks.rank else 0
        with pytest.raises(ConfigError, match="the 3 processes differ in their step"):
            ranks.check_agreement(settings={"k": 4}, step=step)
        ranks.check_agreement(settings={"k": 4}, step=7)

    together(3, parallel, work)
    Ranks().check_agreement(step=1)


@pytest.mark.parametrize("parallel", PARALLEL)
def test_fewer_positive_entries_than_asked_for_are_all_kept(parallel):
    x, weight, bias = problem()
    rare = x, weight, bias - 5.0
    for name in ("topk", "batchtopk"):
        kept, smallest = selected(3, parallel, name, rare)
        assert 0 < (kept > 0).sum() < K * N_ROWS / 2
        assert_agree(kept, alone(name, rare), decisions(name, *rare))
    assert smallest[0] == kept[kept > 0].min()
    kept, smallest = selected(3, parallel, "batchtopk", (x, weight, bias - 500.0))
    assert kept.count_nonzero() == 0
    assert set(smallest) == {0.0}


def test_a_rank_without_latents_takes_part():
    x, weight, bias = problem()

    def work(ranks):
        part = slice(0, N_LATENTS) if ranks.rank == 1 else slice(0, 0)
        return ranks.select_topk(cpu, x, weight[part], bias[part], K)

    none, every = together(2, "latents", work)
    assert len(none.values) == 0
    assert none.row_ptr.tolist() == [0] * (N_ROWS + 1)
    assert torch.equal(every.cols, cpu.select_topk(x, weight, bias, K).cols)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_rows_and_latents_are_divided_without_rest(size):
    batch = torch.arange(20)
    for latents in (False, True):
        every = [Ranks(r, size, latents) for r in range(size)]
        rows = torch.cat([ranks.own_rows(batch) for ranks in every])
        parts = torch.cat([batch[ranks.own_latents(20)] for ranks in every])
        times = torch.ones(20, dtype=torch.int64)
        n_times_rows, n_times_latents = (size, 1) if latents else (1, size)
        assert torch.equal(rows.bincount(), times * n_times_rows)
        assert torch.equal(parts.bincount(), times * n_times_latents)


@pytest.mark.parametrize("parallel", PARALLEL)
def test_what_is_divided_is_summed_and_what_is_whole_is_not(parallel):
    def work(ranks):
        one = torch.full((2,), float(ranks.rank + 1))
        sums = ranks.sum(one.clone()), ranks.sum_over_rows(one.clone())
        return [*sums, ranks.sum_over_latents(one.clone())], one

    for sums, own in together(3, parallel, work):
        every, over_rows, over_latents = sums
        assert every.tolist() == [6, 6]
        divided, whole = over_rows, over_latents
        if parallel == "latents":
            divided, whole = over_latents, over_rows
        assert divided.tolist() == [6, 6]
        assert torch.equal(whole, own)


def test_summed_reconstructions_have_the_whole_gradient():
    def work(ranks):
        recon = torch.full((2,), float(ranks.rank + 1), requires_grad=True)
        total = ranks.sum_reconstructions(recon)
        (total * torch.tensor([1.0, 3.0])).sum().backward()
        return total.detach(), recon.grad, recon.detach()

    for total, grad, own in together(2, "latents", work):
        assert total.tolist() == [3, 3]
        assert grad.tolist() == [1, 3]
        assert own[0] in (1, 2)  # not summed in place
    for total, _, own in together(2, "rows", work):
        assert torch.equal(total, own)


def test_tensors_of_different_lengths_are_gathered():
    def work(ranks):
        return ranks.gather(torch.full((ranks.rank, 2), float(ranks.rank)))

    for gathered in together(3, "rows", work):
        assert [part.tolist() for part in gathered] == [[], [[1, 1]], [[2, 2], [2, 2]]]


def test_a_flag_of_one_rank_is_known_to_all(monkeypatch):
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "gloo")
    assert together(3, "rows", lambda ranks: ranks.any(ranks.rank == 2)) == [True] * 3
    assert together(3, "rows", lambda ranks: ranks.any(False)) == [False] * 3
    assert Ranks().any(True)
    assert not Ranks().any(False)


def test_a_lost_rank_is_an_error_that_says_what_to_do():
    def lost(tensor):
        raise RuntimeError("connection closed")

    with pytest.raises(LostRankError, match=r"rank 1 of 2 lost the others.*--resume"):
        Ranks(1, 2)._communicate(lost, torch.zeros(1))


@pytest.mark.parametrize(
    ("device", "has_gpu", "backend"),
    [
        ("cpu", True, "gloo"),
        ("auto", True, "nccl"),
        ("cuda", True, "nccl"),
        ("cuda:1", True, "nccl"),
        ("auto", False, "gloo"),
        ("cuda", False, "gloo"),  # refused later, with the remedy
    ],
)
def test_ranks_communicate_by_what_serves_their_device(
    monkeypatch, device, has_gpu, backend
):
    begun, placed = [], []
    started_by_torchrun(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", placed.append)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(
        torch.distributed,
        "init_process_group",
        lambda backend, timeout: begun.append((backend, timeout.total_seconds())),
    )
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed.atexit, "register", lambda end: None)
    ranks = distributed.join(device, latents=True)
    hours = 6  # for the slowest part of an encoding, or a checkpoint of many gigabytes
    assert begun == [(backend, hours * 3600)]
    assert placed == ([1] if backend == "nccl" else [])
    assert (ranks.rank, ranks.size, ranks.divides_latents) == (1, 2, True)


@pytest.mark.parametrize(
    ("device", "n_gpus", "message"),
    [
        ("auto", 1, r"2 processes .* need a GPU each, but torch finds 1\. Start 1"),
        ("cuda", 1, r"need a GPU each"),
        ("cuda:0", 2, r"'cuda:0' is a single GPU, but each of the 2 .*device='cuda'"),
    ],
)
def test_processes_that_would_share_a_gpu_are_refused(
    monkeypatch, device, n_gpus, message
):
    started_by_torchrun(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    with pytest.raises(ConfigError, match=message):
        distributed.join(device)


def started_by_torchrun(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")


def test_several_processes_that_cannot_meet_are_told_how(monkeypatch):
    started_by_torchrun(monkeypatch)
    monkeypatch.delenv("MASTER_ADDR")
    with pytest.raises(ConfigError, match=r"WORLD_SIZE=2 .* MASTER_ADDR\..*torchrun"):
        distributed.join("cpu")
