"""The verbs: each module here tells one story from beginning to end, joining the stages."""
