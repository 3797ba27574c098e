"""Questions put to a trained model: what its thoughts say, whether they carry an answer, how it plans."""
