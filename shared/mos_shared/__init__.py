"""The model side that both ends need: bases, concepts, prompts, sampling."""
