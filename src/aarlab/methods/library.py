"""Importing this module registers every method that ships."""

from aarlab.methods import baselines as baselines
from aarlab.methods import confidence_weighting as confidence_weighting
from aarlab.methods import curricula as curricula
from aarlab.methods import data_filtering as data_filtering
from aarlab.methods import distillation as distillation
from aarlab.methods import ensemble as ensemble
from aarlab.methods import evolution as evolution
from aarlab.methods import loss_function as loss_function
from aarlab.methods import model_internals as model_internals
from aarlab.methods import self_training as self_training
from aarlab.methods import unsupervised_elicitation as unsupervised_elicitation
from aarlab.methods.method import METHODS as METHODS
