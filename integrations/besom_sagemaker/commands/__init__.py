"""besom's commands that SageMaker brings; found by name, imported when they are used."""
