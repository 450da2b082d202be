"""The way out: which addresses may be asked or told something (`judge`), connections that go there and nowhere else (`network`), and who
speaks to a remote teacher (`endpoint`). Webhooks leave by the same door."""
