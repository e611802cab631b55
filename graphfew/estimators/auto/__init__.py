"""`method="auto"`: an ensemble for a few labels and an unlabeled set, on data of any kind.

Start reading at `ensemble.fit_ensemble`.
"""
