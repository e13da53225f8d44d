"""The diagnosis of training runs: numbers recomputed from stored rollouts, and the page that shows them."""
