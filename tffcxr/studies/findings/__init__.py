"""Is a finding there? Sites that label different findings, AUROC of each."""
