"""A Hydra sweeper that resumes, prunes, survives its trials and needs no barrier.

`hydra/sweeper=cvae_optuna` runs an Optuna study with the stock plugin's keys and parsing, and
`hydra/launcher=cvae_local` runs each job in a process of its own. Both know nothing of the
application they drive.
"""

__version__ = "1.0.0"
