"""Ways of training: one file an idea, all behind vouch.objectives.base.Objective."""
