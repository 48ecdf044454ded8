"""What a checkpoint's scores mean, learnt on a validation split. `training.studies` measures what that is worth."""
