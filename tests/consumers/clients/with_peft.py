"""Merges adapters with PEFT and averages token vectors.

BASE ADAPTER ... < texts.json > vectors.json, which has a list for each adapter.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import PeftModel
from transformers import AutoModel, PreTrainedTokenizerFast

base, *adapters = sys.argv[1:]
texts = json.load(sys.stdin)
tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
found = []
for adapter in adapters:
    model = AutoModel.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapter).merge_and_unload().eval()
    vectors = []
    for text in texts:
        read = tokenizer(text, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            mean = model(**read).last_hidden_state.mean(dim=1)
        vectors += torch.nn.functional.normalize(mean).tolist()
    found.append(vectors)
json.dump(found, sys.stdout)
