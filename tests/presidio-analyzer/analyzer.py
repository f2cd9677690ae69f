"""Presidio's analyzer as a server: its engine, its recognizers, and the `/analyze` of its app.py.

Its language model cannot be had everywhere, so spaCy's pipeline is an empty one with a rule for one name. Everything
else is Presidio's: the NER recognizer that reads spaCy's entities, the patterns, the context, the scores, the JSON.
"""

import json
import logging
import sys

import spacy
from flask import Flask, Response, jsonify, request
from presidio_analyzer import AnalyzerEngine, AnalyzerRequest
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from werkzeug.serving import make_server

NAME = "Zoë Quill"


class SmallNlpEngine(SpacyNlpEngine):
    """spaCy without a model."""

    def load(self):
        nlp = spacy.blank("en")
        nlp.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": NAME}])
        self.nlp = {"en": nlp}


def app(engine):
    server = Flask(__name__)

    @server.post("/analyze")
    def analyze():
        try:
            asked = AnalyzerRequest(request.get_json())
            if not asked.text:
                raise ValueError("No text provided")
            if not asked.language:
                raise ValueError("No language provided")
            results = engine.analyze(
                text=asked.text,
                language=asked.language,
                correlation_id=asked.correlation_id,
                score_threshold=asked.score_threshold,
                entities=asked.entities,
                return_decision_process=asked.return_decision_process,
                ad_hoc_recognizers=asked.ad_hoc_recognizers,
                context=asked.context,
                allow_list=asked.allow_list,
            )
            body = json.dumps(results, default=lambda o: o.to_dict(), sort_keys=True)
            return Response(body, content_type="application/json")
        except Exception as error:
            return jsonify(error=error.args[0]), 500

    return server


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    nlp = SmallNlpEngine()
    nlp.load()
    server = make_server("127.0.0.1", 0, app(AnalyzerEngine(nlp_engine=nlp, supported_languages=["en"])), threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()
    sys.exit(0)
