"""Which of several classes is it? Several networks, perhaps on the lungs alone."""
