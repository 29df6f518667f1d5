"""What is said of privacy when a training has ended."""

from tffcxr.clients.sampling import Sampler
from tffcxr.learning.dp_sgd import DpSgd
from tffcxr.studies import training_privacy
from tffcxr.training import loop
from tffcxr.training.image_ledger import ImageLedger
from tffcxr.training.privacy_ledger import Ledger, Privacy


def test_epsilon_is_said_in_words_of_clients_and_of_images(tmp_path, capsys):
    rows = [
        {"round": 1, "client": name, "status": "ok", "images": images}
        for name, images in (("a", 8), ("b", 4))
    ]
    journal = loop.Journal(
        None,
        None,
        None,
        ledger=Ledger(Privacy(0.3), Sampler(("a", "b")), 1),
        image_ledger=ImageLedger(DpSgd(20.0, 1.0, 4), 1, 1e-5),
    )
    found = training_privacy.write(journal, tmp_path, "standard", rows, by_budget=False)
    assert 40 < found["epsilon"] < 60 and found["delta"] == 1e-5
    of_images, of_clients = capsys.readouterr().err.splitlines()
    assert of_images.startswith("standard: For the client with most passes, ε = 0.")
    assert "strong protection" in of_images
    assert of_clients.startswith("standard: With 2 clients, ε = 49.9 is no protection: it protects")
