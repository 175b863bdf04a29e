"""A generator of simple children's stories: ``story(seed)`` returns the story of that seed."""

from stories.telling import story, tell

__all__ = ["story", "tell"]
