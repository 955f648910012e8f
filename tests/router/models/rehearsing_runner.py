"""A fork server whose runners look at no tree: bad models get as far as their rehearsal."""

import sys

from switchpoint.router.models import runner, sklearn_model

if __name__ == "__main__":
    vars(sklearn_model)["require_walkable"] = lambda model: None
    runner.main(int(sys.argv[1]))
