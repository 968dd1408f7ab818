"""See hypotheses.md and simulated_campaigns.py."""

from experiments.arms.simulated_campaigns import main

if __name__ == "__main__":
    main()
