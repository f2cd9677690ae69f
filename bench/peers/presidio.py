"""Presidio with its default English recognizers and a blank spaCy pipeline (no language model), and with all of its recognizers:
`presidio.py DIR BYTES`. It is given few bytes, because each 100 kB takes seconds."""

import json
import pathlib
import struct
import sys
import time

from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine
import presidio_analyzer.predefined_recognizers as predefined
import spacy


class Blank(SpacyNlpEngine):
    def __init__(self):
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}


def everything(registry):
    """All recognizers that need neither a model nor a service, whatever their country."""
    names = {type(recognizer).__name__ for recognizer in registry.recognizers}
    for name in predefined.__all__:
        if name in names or any(part in name for part in ("Spacy", "Stanza", "Transformers", "GLiNER", "Azure", "Health", "Lang", "Basic")):
            continue
        try:
            registry.add_recognizer(getattr(predefined, name)(supported_language="en"))
        except Exception:  # Some want a model, and say so each in its own way.
            continue


def main():
    folder, bytes_max = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    nlp = Blank()
    for label in ("Presidio", "Presidio, all recognizers"):
        registry = RecognizerRegistry()
        registry.load_predefined_recognizers(languages=["en"])
        for recognizer in list(registry.recognizers):
            if "Spacy" in type(recognizer).__name__:
                registry.remove_recognizer(recognizer.name)
        if "all" in label:
            everything(registry)
        start = time.process_time()
        engine = AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=["en"])
        started = time.process_time() - start
        for kind in ("chat", "prose", "logs", "code"):
            data, texts, at = (folder / f"{kind}.texts").read_bytes(), [], 0
            while at < len(data) and sum(map(len, texts)) < bytes_max:
                (length,) = struct.unpack_from("<I", data, at)
                texts.append(data[at + 4 : at + 4 + length].decode()[:bytes_max])
                at += 4 + length
            best, found = float("inf"), 0
            for _ in range(2):
                start = time.process_time()
                found = sum(len(engine.analyze(text, language="en")) for text in texts)
                best = min(best, time.process_time() - start)
            row = {"contender": label, "text": kind, "mb_per_s": sum(len(t.encode()) for t in texts) / 1e6 / best}
            print(json.dumps({**row, "found": found, "recognizers": len(registry.recognizers), "start_ms": started * 1e3}), flush=True)


main()
