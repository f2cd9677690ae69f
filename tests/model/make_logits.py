#!/usr/bin/env python3
"""Makes logits.json: what Hugging Face's transformers makes of the small models of crates/model's tests.

    cargo run -p tabellion-model --example toy -- DIRECTORY
    pip install tensorflow-cpu==2.15.1 transformers==4.40.2 'numpy<2'     (Python 3.11)
    python3 make_logits.py DIRECTORY > logits.json

TensorFlow, because its wheel for processors alone is on the Python index, and PyTorch's is not; transformers reads the same
safetensors with either.
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from transformers import PreTrainedTokenizerFast, TFAutoModelForTokenClassification, logging  # noqa: E402

FAMILIES = ["bert", "electra", "roberta", "distilbert", "deberta-v2"]
TEXTS = [
    "Please ask Mirelda Quill about the flat in Skarnby, and call Vrondak.",
    # Further apart than there are buckets of distances.
    "my name is tuzo " + "and call the pen with a quill to the flat of " * 4 + "jaxo.",
]

logging.set_verbosity_error()
cases = []
for family in FAMILIES:
    directory = os.path.join(sys.argv[1], family)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(directory, "tokenizer.json"))
    model = TFAutoModelForTokenClassification.from_pretrained(directory)
    for text in TEXTS:
        tokens = tokenizer(text, return_tensors="tf", truncation=False, return_token_type_ids=False)
        logits = model(tokens).logits.numpy()[0]
        cases.append(
            {"family": family, "text": text, "logits": [[round(float(one), 5) for one in token] for token in logits]}
        )
print("[")
print(",\n".join(json.dumps(case) for case in cases))
print("]")
