"""What a waiting runtime runs to have run something."""


def handler(event, context):
    return event
