"""What a model says beside its best guess: sure or not, which classes are possible, known or unlike all it has seen.

The rules are fitted by the evaluation stage, travel inside the model file as plain JSON, and are applied by the
prediction stage. Both use the arithmetic here, which needs NumPy only, so that what is evaluated is what is shipped.
"""
