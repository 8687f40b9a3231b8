"""How a student learns from labels and a teacher."""
