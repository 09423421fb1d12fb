"""What `fusion --help` says."""

from __future__ import annotations

HELP = """\
fusion: several strong, different language models into one compact model

  fusion run experiment=NAME [key=value ...]    do it; the same command again resumes, and does nothing when done
  fusion plan experiment=NAME [key=value ...]   what a run would do, step by step, before anything is spent
  fusion eval benchmark=[gsm8k,ifeval] target=NAME [models=[FOLDER,...]] [key=value ...]
                                                scores of models, endpoints or stored answers, with intervals
  fusion status [RUN] [--follow | --serve [PORT]]
                                                how a run goes, or how it ended: here, or on a live page
  fusion agree data=FOLDER [reward=[judge] rewards.judge.endpoint.url=URL ...] [limit=N]
                                                how far judges agree with labels of people, before they are believed
  fusion show RUN [TABLE] [--source S] [--domain D] [--where 'margin>0.05' ...] [--sort COLUMN]
                                                rows of a finished run: sft, pairs, prompts, responses, drops, ...
  fusion explain [RUN] KEY                      everything about one prompt: candidates, scores, what was chosen and why
  fusion ablate RUN                             what would be lost without each source, from the stored answers
  fusion calibrate RUN REWARD [--for OTHER]     a published window of margins as quantiles, for any reward
  fusion push RUN --to FOLDER|hf://datasets/OWNER/NAME
                                                publish its data sets with a card: config, counts, licences, conflicts
  fusion compare RUN RUN ...                    what several runs trained, on the same prompts, and what each took
  fusion diff RUN RUN                           what differs between two runs: settings, rows, scores
  fusion merge CONFIG.yml OUT_DIR               merge checkpoints of one architecture, as mergekit's YAML says
  fusion report RUN                             write runs/RUN/report.html again
  fusion align A B --text FILE [--html OUT]     how the tokens of two tokenizers meet on a text
  fusion submit experiment=NAME [key=value ...] do it on a Ray cluster; `fusion submit --help` says how
  fusion doctor [experiment=NAME key=value ...] check this machine, its store and its cluster, and say what to type

`run`, `plan` and `doctor` take Hydra overrides; `-m` sweeps, `--cfg job` prints the composed config, `--config-dir DIR`
adds a folder of own yaml files, `fusion run --help` lists groups and options, `eval "$(fusion -sc install=bash)"`
completes.
Exit codes: 0 done, 1 a step failed, 2 refused before starting, 130 interrupted (resumable).
"""
