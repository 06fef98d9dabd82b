"""report.html: what a training or an evaluation gave, in figures, sentences and pictures, for a person to read."""
