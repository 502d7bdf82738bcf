"""
``m3u8svc doctor``: what may be wrong here, before anything fails.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # Any: JSON and TOML values

import attrs
import click

from m3u8svc.cli import words
from m3u8svc.cli.client import EXIT_REFUSED, CommandFailed
from m3u8svc.cli.examples import taught
from m3u8svc.config import Configuration
from m3u8svc.doctor import Finding, examine, versions, worst
from m3u8svc.errors import ConfigError
from m3u8svc.redact import redact_text
from m3u8svc.supportbundle import end_of, write_bundle


@click.command("doctor", help=words.DOCTOR_HELP.said(), epilog=taught("doctor", words.DOCTOR_STATUSES))
@click.option("--home", metavar="DIR", help=words.HOME_OPTION.said())
@click.option("--config", metavar="FILE", help=words.CONFIG_OPTION.said())
@click.option("--log-file", metavar="FILE", help=words.DOCTOR_LOG_OPTION.said())
@click.option("--json", "as_json", is_flag=True, help=words.PLAN_JSON_OPTION.said())
@click.option("--bundle", metavar="FILE", help=words.BUNDLE_OPTION.said())
def doctor(home: str | None, config: str | None, log_file: str | None, as_json: bool, bundle: str | None) -> None:
    """
    Look at everything, say what was found; changes nothing.
    """
    configuration, findings = _configured(home, config)
    findings += examine(configuration)
    found: dict[str, Any] = {
        "status": worst(findings),
        "findings": [finding.as_fields() for finding in findings],
        "versions": versions(),
    }
    if bundle is not None:
        _write(Path(bundle), found, config, log_file)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        for line in lines(findings, words.language()):
            click.echo(line)
    if bundle is not None:
        click.echo(words.BUNDLE_WRITTEN.said(path=bundle), err=True)
    if found["status"] == "problem":
        raise SystemExit(EXIT_REFUSED)


def lines(findings: list[Finding], language: str) -> list[str]:
    """
    As people read them: one line each, and what to do beneath. Pure.
    """
    said: list[str] = []
    for finding in findings:
        chinese = language == "zh"
        said.append(f"{words.FINDINGS[finding.status].said()} {finding.zh if chinese else finding.en}")
        if advice := finding.advice_zh if chinese else finding.advice_en:
            said.append(f"    {advice}")
    return said


def _configured(home: str | None, config: str | None) -> tuple[Configuration, list[Finding]]:
    """The configuration as `serve` would have it, as far as it can be read."""
    from m3u8svc.tap import Options, configuration_of

    options = Options()
    options.update({"home": home, "config": config})
    try:
        return configuration_of(options), []
    except ConfigError as error:
        configuration = Configuration()
        if home is not None:
            configuration = attrs.evolve(configuration, home=home)
        finding = Finding(
            about="config",
            status="problem",
            zh=redact_text(error.text("zh")),
            en=redact_text(error.text("en")),
            advice_zh=error.advice("zh"),
            advice_en=error.advice("en"),
        )
        return configuration, [finding]


def _write(target: Path, found: Mapping[str, Any], config: str | None, log_file: str | None) -> None:
    document: dict[str, Any] = {}
    try:
        if config is not None:
            document = tomllib.loads(Path(config).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = {"unreadable": True}  # the findings say so, too
    try:
        write_bundle(
            target, found=found, configuration=document, log=b"" if log_file is None else end_of(Path(log_file))
        )
    except OSError as error:
        raise CommandFailed(words.BUNDLE_FAILED.said(path=error.filename, reason=error.strerror)) from None
