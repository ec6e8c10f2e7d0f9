"""The models of the mini zoo and the stage that trains each."""
