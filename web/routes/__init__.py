"""The routes by resource: each module makes one blueprint. Input is checked before anything else is asked."""
