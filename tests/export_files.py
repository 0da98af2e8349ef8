"""Exports of marketing tools, made after their published columns, with invented contents."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORDS = [
    "spring",
    "offer",
    "garden",
    "sale",
    "weekend",
    "shoes",
    "street",
    "delivery",
    "sunday",
    "idea",
    "kitchen",
    "summer",
    "voucher",
    "friend",
    "coffee",
    "travel",
    "paper",
    "music",
    "winter",
    "bicycle",
    "market",
    "letter",
    "window",
    "evening",
    "colour",
    "lamp",
    "jacket",
    "river",
    "bread",
    "mirror",
    "basket",
    "village",
    "holiday",
    "pocket",
    "thunder",
    "orange",
    "forest",
    "button",
    "ribbon",
    "castle",
    "pepper",
    "island",
]
"""Of invented subject lines."""


def planted(tests: int, seed: int = 0, shown: int = 2_000) -> list[dict[str, Any]]:
    """Two arms per test, equally often shown; the subject with "free" succeeds more often."""
    random = np.random.default_rng(seed)
    arms = []
    for test in range(tests):
        for place, word in enumerate(("Free", "Plain")):
            # The same on every day, whatever the counts are.
            others = np.random.default_rng(2 * test + place).choice(WORDS, 4, replace=False)
            subject = " ".join([word, *others])
            rate = 0.2 if word == "Free" else 0.1
            arms.append(
                {
                    "test": f"T{test}",
                    "arm": "AB"[place],
                    "subject": subject,
                    "shown": shown + int(random.integers(-20, 20)),
                    "successes": int(random.binomial(shown - 20, rate)),
                }
            )
    return arms


def klaviyo(folder: Path, tests: int = 2) -> list[Path]:
    """Campaigns with their variants."""
    header = [
        "Campaign Name",
        "Variant Name",
        "Tags",
        "Subject",
        "List",
        "Send Time",
        "Send Weekday",
        "Total Recipients",
        "Unique Placed Order",
        "Revenue",
        "Unique Opens",
        "Open Rate",
        "Total Opens",
        "Unique Clicks",
        "Click Rate",
        "Total Clicks",
        "Unsubscribes",
        "Spam Complaints",
        "Successful Deliveries",
        "Bounces",
        "Bounce Rate",
        "Campaign ID",
        "Campaign Channel",
        "Winning Variant?",
    ]
    rows = []
    for arm in planted(tests):
        opens = arm["successes"] * 2
        rows.append(
            [
                f"News {arm['test']}", f"Variation {arm['arm']}", "", arm["subject"], "Customers",
                "2026-03-04 09:00:00", "Wednesday", arm["shown"] + 7, 3, "120.50", opens,
                f"{opens / arm['shown']:.2%}", opens + 9, arm["successes"],
                f"{arm['successes'] / arm['shown']:.2%}", arm["successes"] + 4, 1, 0, arm["shown"],
                7, "0.35%", f"C{arm['test']}", "email", "",
            ]
        )  # fmt: skip
    return [_csv(folder / "klaviyo.csv", [header, *rows])]


def mailchimp_campaigns(folder: Path, tests: int = 2) -> list[Path]:
    """A list of campaigns, none of them a test."""
    header = [
        "Title",
        "Subject",
        "List",
        "Send Date",
        "Send Weekday",
        "Total Recipients",
        "Successful Deliveries",
        "Unique Opens",
        "Open Rate",
        "Total Opens",
        "Unique Clicks",
        "Click Rate",
        "Total Clicks",
        "Unsubscribes",
        "Unique Id",
    ]
    rows = [
        [
            f"{arm['test']}{arm['arm']}", arm["subject"], "Readers", "Jun 09, 2026 09:30 pm",
            "Tuesday", arm["shown"], arm["shown"], arm["successes"] * 2, "40%",
            arm["successes"] * 3, arm["successes"], "20%", arm["successes"], 0,
            f"{arm['test']}{arm['arm']}",
        ]
        for arm in planted(tests)
    ]  # fmt: skip
    return [_csv(folder / "campaigns.csv", [header, *rows])]


def mailchimp_ab(folder: Path, tests: int = 2) -> list[Path]:
    """A report per A/B test, in sections."""
    paths = []
    arms = planted(tests)
    for first, second in zip(arms[::2], arms[1::2]):
        lines: list[list[str]] = [
            ["Campaign Report"], ["Title:", f"Letter {first['test']}"],
            ["Delivery Date/Time:", "Sat, May 2, 2026 10:15"], [],
        ]  # fmt: skip
        for number, arm in enumerate((first, second), start=1):
            clicked = arm["successes"]
            lines += [
                [f"Combination {number} Stats"], ["Subject Line:", arm["subject"]],
                ["From Name:", "Corner Shop"], ["From Email:", "shop@example.com"],
                ["Total Recipients:", f"{arm['shown'] + 9:,}"],
                ["Successful Deliveries:", f"{arm['shown']:,}"], ["Bounces:", "9 (0.5%)"],
                ["Recipients Who Opened:", f"{clicked * 2:,} (17.3%)"],
                ["Total Opens:", f"{clicked * 3:,}"],
                ["Recipients Who Clicked:", f"{clicked} (8.6%)"],
                ["Total Clicks:", f"{clicked + 5}"], ["Total Unsubs:", "1"], [],
            ]  # fmt: skip
        lines += [["Clicks by URL"], ["URL", "Total Clicks", "Unique Clicks"]]
        path = folder / f"report_{first['test']}.csv"
        paths.append(_csv(path, lines, quoting=csv.QUOTE_ALL))
    return paths


def growthbook_csv(folder: Path, tests: int = 2) -> list[Path]:
    """Results of one experiment per file: a row per metric and variation."""
    header = [
        "metric",
        "variation",
        "riskOfChoosing",
        "users",
        "totalValue",
        "perUserValue",
        "perUserValueStdDev",
        "chanceToBeatControl",
        "percentChange",
        "percentChangePValue",
    ]
    paths = []
    arms = planted(tests)
    for pair in zip(arms[::2], arms[1::2]):
        rows = []
        for arm in pair:
            rate = arm["successes"] / arm["shown"]
            rows.append(
                ["Signed up", arm["subject"], 0.01, arm["shown"], arm["successes"], rate, 0.3, 0.9,
                 0.1, 0.04]
            )  # fmt: skip
            rows.append(
                ["Revenue", arm["subject"], 0.01, arm["shown"], 1234.56, 0.6, 9.1, 0.5, 0.0, 0.9]
            )
        paths.append(_csv(folder / f"experiment {pair[0]['test']}.csv", [header, *rows]))
    return paths


def growthbook_api(folder: Path, tests: int = 2) -> list[Path]:
    """Experiments and their results, an object per file."""
    paths = []
    arms = planted(tests)
    for pair in zip(arms[::2], arms[1::2]):
        name = f"exp_{pair[0]['test']}"
        variations = [{"variationId": f"var_{arm['arm']}", "users": arm["shown"]} for arm in pair]
        experiment = {
            "experiment": {
                "id": name,
                "name": pair[0]["test"],
                "variations": [
                    {
                        "variationId": f"var_{arm['arm']}",
                        "key": arm["arm"],
                        "name": arm["subject"],
                        "description": "",
                        "screenshots": [],
                    }
                    for arm in pair
                ],
                "phases": [{"name": "Main", "trafficSplit": [{"variationId": "var_A"}]}],
            }
        }
        results = {
            "result": {
                "id": f"snp_{name}",
                "experimentId": name,
                "phase": "0",
                "results": [
                    {
                        "dimension": "",
                        "totalUsers": sum(arm["shown"] for arm in pair),
                        "checks": {"srm": 0.7},
                        "metrics": [
                            {
                                "metricId": metric,
                                "variations": [
                                    item
                                    | {"analyses": [{"engine": "bayesian", "numerator": value}]}
                                    for item, value in zip(variations, values)
                                ],
                            }
                            for metric, values in (
                                ("met_signup", [arm["successes"] for arm in pair]),
                                ("met_revenue", [812.25, 640.5]),
                            )
                        ],
                    }
                ],
            }
        }
        for kind, document in (("experiment", experiment), ("results", results)):
            paths.append(folder / f"{name}_{kind}.json")
            paths[-1].write_text(json.dumps(document))
    return paths


def optimizely(folder: Path, tests: int = 2) -> list[Path]:
    """Results of one experiment per file."""
    paths = []
    arms = planted(tests)
    for number, pair in enumerate(zip(arms[::2], arms[1::2])):
        ids = [f"{number}0{place}" for place in range(2)]
        document = {
            "experiment_id": 9_000_000_000_000_000 + number,
            "start_time": "2026-01-02T00:00:00Z",
            "end_time": "2026-01-20T00:00:00Z",
            "reach": {
                "variations": {
                    identifier: {"count": arm["shown"]} for identifier, arm in zip(ids, pair)
                }
            },
            "metrics": [
                {
                    "name": "Clicked the button",
                    "event_id": 77,
                    "results": {
                        identifier: {
                            "is_baseline": identifier == ids[0],
                            "name": arm["subject"],
                            "value": arm["successes"],
                            "lift": {"value": 0.1},
                        }
                        for identifier, arm in zip(ids, pair)
                    },
                }
            ],
        }
        paths.append(folder / f"optimizely_{number}.json")
        paths[-1].write_text(json.dumps(document))
    return paths


def meta(
    folder: Path, tests: int = 2, days: Sequence[int] = (1, 2, 3), name: str = "meta.csv"
) -> list[Path]:
    """A row per ad and day, a total row, quoted thousands, a currency in a column's name."""
    header = [
        "Reporting starts", "Reporting ends", "Ad name", "Ad delivery", "Results",
        "Result indicator", "Cost per results", "Amount spent (EUR)", "Impressions", "Reach",
        "Frequency", "Ends", "Attribution setting", "Quality ranking", "Ad set name", "Link clicks",
        "CTR (link click-through rate)", "Body",
    ]  # fmt: skip
    rows: list[list[Any]] = []
    totals = [0, 0]
    for day in days:
        for arm in planted(tests, seed=day, shown=1_500):
            date = f"2026-05-{day:02}"
            totals = [totals[0] + arm["shown"], totals[1] + arm["successes"]]
            rows.append(
                [
                    date, date, f"Ad {arm['arm']}", "active", arm["successes"], "link_click",
                    "0.21", "31.50", f"{arm['shown']:,}", "1,200", "1.25", "Ongoing", "7-day click",
                    "-", f"Set {arm['test']}", arm["successes"], "9.8", arm["subject"],
                ]
            )  # fmt: skip
    total = [
        f"2026-05-{days[0]:02}",
        f"2026-05-{days[-1]:02}",
        "",
        "",
        totals[1],
        "",
        "",
        "99",
        f"{totals[0]:,}",
    ]
    rows.append([*total, "9,999", *[""] * 5, totals[1], "", ""])
    return [_csv(folder / name, [header, *rows])]


def meta_insights(folder: Path, tests: int = 2, days: Sequence[int] = (1, 2, 3)) -> list[Path]:
    """A connector's row per ad and day; the texts stand in another file."""
    header = [
        "ad_id", "adset_id", "date", "account_id", "impressions", "inline_link_clicks", "spend",
        "reach",
    ]  # fmt: skip
    rows = [
        [
            f"1{arm['test'][1:]}{'AB'.index(arm['arm'])}", f"5{arm['test'][1:]}",
            f"2026-05-{day:02}", "act_1", arm["shown"], arm["successes"], "3.10", 800,
        ]
        for day in days
        for arm in planted(tests, seed=day)
    ]  # fmt: skip
    texts = [
        [f"1{arm['test'][1:]}{'AB'.index(arm['arm'])}", arm["subject"]] for arm in planted(tests)
    ]
    _csv(folder / "ad_texts.csv", [["creative", "message"], *texts])
    return [_csv(folder / "insights.csv", [header, *rows])]


def linkedin(folder: Path, tests: int = 2, days: int = 3) -> list[Path]:
    """UTF-16 with a mark, tabs, a preamble, German names and numbers."""
    header = [
        "Startdatum (in UTC)", "Kontoname", "Währung", "Kampagnen-ID", "Kampagnenname",
        "Anzeigen-ID", "Anzeigenname", "Einführungstext der Anzeige", "Überschrift der Anzeige",
        "Gesamtausgaben", "Impressionen", "Klicks", "Klickrate", "Leads",
    ]  # fmt: skip
    rows: list[list[Any]] = [
        ["Anzeigenleistungsbericht (in UTC)"], ["Berichtsbeginn: 1. Mai 2026"],
        ["Berichtsende: 31. Mai 2026"], ["Datum der Erstellung: 2. Juni 2026"], [], header,
    ]  # fmt: skip
    for day in range(1, days + 1):
        for arm in planted(tests, seed=day):
            rows.append(
                [
                    f"{day}.5.2026", "Beispiel GmbH", "EUR", f"90{arm['test'][1:]}",
                    f"Kampagne {arm['test']}", f"7{arm['test'][1:]}{'AB'.index(arm['arm'])}",
                    "Anzeige", "Für Ihr Büro", arm["subject"], "12,50",
                    f"{arm['shown']:,}".replace(",", "."), arm["successes"], "9,75 %", 0,
                ]
            )  # fmt: skip
    path = folder / "linkedin.csv"
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t").writerows(rows)
    path.write_bytes(text.getvalue().encode("utf-16"))
    return [path]


def tiktok(folder: Path, tests: int = 2) -> list[Path]:
    """A row per ad, two kinds of clicks, a total row in words."""
    header = [
        "Ad name", "Ad group name", "Campaign name", "Text", "Cost", "CPC (destination)", "CPM",
        "Impressions", "Clicks (destination)", "Clicks (all)", "CTR (destination)", "Reach",
    ]  # fmt: skip
    arms = planted(tests)
    rows: list[list[Any]] = [
        [
            f"Ad {arm['arm']}", f"Group {arm['test']}", "Launch", arm["subject"], "10.00", "0.05",
            "4.00", arm["shown"], arm["successes"], arm["successes"] + 11, "10%", 900,
        ]
        for arm in arms
    ]  # fmt: skip
    shown, clicks = (sum(arm[name] for arm in arms) for name in ("shown", "successes"))
    rows.append(
        [f"Total of {len(arms)} results", "-", "-", "-", "40", "-", "-", shown, clicks, clicks + 44,
         "-", "-"]
    )  # fmt: skip
    return [_csv(folder / "tiktok.csv", [header, *rows])]


def google(folder: Path, tests: int = 2) -> list[Path]:
    """Headlines of responsive ads."""
    header = [
        "campaign.name", "ad_group.name", "ad_group_ad_asset_view.field_type",
        "ad_group_ad_asset_view.performance_label", "asset.text_asset.text",
        "asset.image_asset.full_size.url", "metrics.impressions", "metrics.clicks",
    ]  # fmt: skip
    rows = [
        [
            "Search", f"Group {arm['test']}", "HEADLINE", "GOOD", arm["subject"], " --",
            arm["shown"], arm["successes"],
        ]
        for arm in planted(tests)
    ]  # fmt: skip
    return [_csv(folder / "google.csv", [header, *rows])]


def variants(folder: Path, tests: int = 2) -> list[Path]:
    """A row per variant."""
    rows = [
        [arm["test"], arm["arm"], arm["subject"], arm["shown"], arm["successes"]]
        for arm in planted(tests)
    ]
    header = ["test_id", "variant", "headline", "impressions", "clicks"]
    return [_csv(folder / "variants.csv", [header, *rows])]


def variant_days(folder: Path, tests: int = 2, days: Sequence[int] = (1, 2, 3)) -> list[Path]:
    """A row per variant and day."""
    rows = [
        [f"2026-05-{day:02}", arm["test"], arm["arm"], arm["subject"], arm["shown"],
         arm["successes"]]
        for day in days
        for arm in planted(tests, seed=day)
    ]  # fmt: skip
    header = ["date", "test_id", "variant", "headline", "impressions", "clicks"]
    return [_csv(folder / f"days_{days[0]}.csv", [header, *rows])]


def _csv(path: Path, rows: Sequence[Sequence[Any]], quoting: Any = csv.QUOTE_MINIMAL) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=quoting).writerows(rows)
    return path


ALL = (
    klaviyo, mailchimp_campaigns, mailchimp_ab, growthbook_csv, growthbook_api, optimizely, meta,
    meta_insights, linkedin, tiktok, google, variants, variant_days,
)  # fmt: skip
