"""The findings for programs: one JSON object, and back."""

import dataclasses
import json

from tools.comparing.goals import judge
from tools.comparing.results import Findings, PeerNote, Result


def dump(findings: Findings) -> str:
    goals = [
        {"goal": row.goal.text, "wanted": row.goal.wanted, "measured": row.measured, "verdict": row.verdict}
        for row in judge(findings.results)
    ]
    return json.dumps({**dataclasses.asdict(findings), "goals": goals}, indent=1, ensure_ascii=False) + "\n"


def load(text: str) -> Findings:
    found = json.loads(text)
    del found["goals"]  # computed from the results
    peers = tuple(PeerNote(**each) for each in found.pop("peers"))
    results = tuple(Result(**{**each, "values": tuple(each["values"])}) for each in found.pop("results"))
    return Findings(**found, peers=peers, results=results)
