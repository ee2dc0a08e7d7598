"""All experiments, by name."""

from experiments import mnist, simpsons, simpsons_rgb

EXPERIMENTS = {each.EXPERIMENT.name: each.EXPERIMENT for each in (mnist, simpsons, simpsons_rgb)}
