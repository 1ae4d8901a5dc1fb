"""Signal processing on arrays: features, VAD, normalisation, reverberation, resampling, made rooms and noises."""
