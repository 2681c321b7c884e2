"""Fine-tune a model's mask decoder on the stored embeddings: ``python -m acdc_medsam.train --data_dir data/ACDC``."""
