"""How each family's processor makes crops and visual tokens of pictures."""
