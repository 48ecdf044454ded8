"""What is measured beside a training: methods and checkpoints compared, answers under other questions."""
