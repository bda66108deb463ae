"""Other libraries' SAEs on the command line: converted, and used like a run."""

import numpy as np
import pytest
import torch

import foreign_files as written
import sae_formulas as formulas
from nanosae import Codes, SAEModel
from nanosae.cli import main
from sae_formulas import K


def test_a_sae_lens_folder_is_used_like_a_run(tmp_path, capsys):
    p, x = formulas.parameters(), formulas.rows(60)
    cfg = {"architecture": "topk", "k": K}
    folder = written.sae_lens(tmp_path / "sae", cfg, written.sae_lens_tensors(p))
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "x.txt").write_text("".join(f"text {i}\n" for i in range(60)))
    data, texts = str(tmp_path / "x.npy"), str(tmp_path / "x.txt")
    assert main(["encode", str(folder), data, "--texts", texts]) == 0
    codes = Codes.open(folder)
    acts = formulas.topk(p, x)
    np.testing.assert_allclose(codes.rows(0, 60).toarray(), acts, rtol=1e-3, atol=1e-6)
    capsys.readouterr()
    assert main(["describe", str(folder), "--json"]) == 0
    assert '"feature":0' in capsys.readouterr().out


def test_convert_makes_a_run_of_a_file_and_other_formats_of_a_run(tmp_path, capsys):
    p, x = formulas.parameters(), torch.from_numpy(formulas.rows())
    source = written.hypothesaes(tmp_path / "sae.pt", p)
    np.save(tmp_path / "x.npy", formulas.rows())
    data, run = str(tmp_path / "x.npy"), str(tmp_path / "run")
    assert main(["encode", str(source), data]) == 2
    assert "nanosae convert" in capsys.readouterr().err
    assert main(["convert", str(source), "-o", run]) == 0
    assert main(["encode", run, data]) == 0
    with torch.no_grad():
        wanted = SAEModel.load(source)(x)
        for format in ("sparsify", "dictionary_learning", "sae_lens"):
            out = str(tmp_path / format)
            assert main(["convert", run, "-o", out, "--format", format]) == 0
            torch.testing.assert_close(SAEModel.load(out)(x), wanted)
            assert main(["convert", run, "-o", out, "--format", format]) == 2
            assert "not empty" in capsys.readouterr().err


def test_what_a_format_cannot_hold_is_a_mistake_not_a_defect(tmp_path, capsys):
    p = formulas.parameters()
    folder = written.gemma_scope(tmp_path / "in", p)
    out = str(tmp_path / "out")
    assert main(["convert", str(folder), "-o", out, "--format", "sparsify"]) == 2
    assert "jumprelu is not supported: sparsify has only topk" in (
        capsys.readouterr().err
    )


FORMATS = ("sae_lens", "sparsify", "dictionary_learning")


@pytest.mark.parametrize("old", FORMATS)
@pytest.mark.parametrize("new", FORMATS)
def test_of_two_saes_in_a_folder_the_new_one_is_read(old, new, tmp_path, capsys):
    """Where the old one would be read, or lose its settings, the folder is refused."""
    x = torch.from_numpy(formulas.rows())
    saes = []
    for seed in (0, 1):
        p = formulas.parameters(seed)
        cfg = {"architecture": "topk", "k": K}
        tensors = written.sae_lens_tensors(p)
        folder = written.sae_lens(tmp_path / f"{seed}", cfg, tensors)
        saes.append(SAEModel.load(folder))
    first, second = saes
    out = tmp_path / "out"
    first.save(out, format=old)
    arguments = ["convert", str(tmp_path / "1"), "-o", str(out), "--format", new]
    code = main([*arguments, "--force"])
    expected = second if code == 0 else first
    with torch.no_grad():
        torch.testing.assert_close(SAEModel.load(out)(x), expected(x))
    if code:
        assert old != new
        assert f"{out} holds another SAE" in capsys.readouterr().err


def test_a_run_is_not_written_over(tmp_path, capsys):
    p = formulas.parameters()
    cfg = {"architecture": "topk", "k": K}
    folder = written.sae_lens(tmp_path / "sae", cfg, written.sae_lens_tensors(p))
    run = tmp_path / "run"
    SAEModel.load(folder).save(run / "model")
    assert main(["convert", str(folder), "-o", str(run), "--force"]) == 2
    assert "holds another SAE (model/cfg.json)" in capsys.readouterr().err
