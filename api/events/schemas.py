"""Schemas of what only streams tell, for the OpenAPI document."""

from api.http.schemas import View


class Reset(View):
    reason: str
    """What was lost, and what follows."""
