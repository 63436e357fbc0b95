"""Notifications: what selfheal told, in; the same sent on to the receivers of people, out. Never says anything new."""

import dagster as dg

from selfheal_assets.ports import Services

NAME = "selfheal_notifications"


def notifications_sensor() -> dg.SensorDefinition:
    """The one sensor of the code location that sends."""

    @dg.sensor(
        name=NAME,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends what selfheal told people to the receivers that are configured, and tries again.",
    )
    def notifications(context: dg.SensorEvaluationContext, selfheal: dg.ResourceParam[Services]) -> dg.SkipReason:
        done = selfheal.notifier.deliver()
        said = f"{done.sent} notifications sent, {done.waiting} waiting, {done.given_up} given up"
        context.log.info(said)
        return dg.SkipReason(said)

    return notifications
