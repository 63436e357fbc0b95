"""Names the sets of features that models train and serve on. A model may declare its own beside its views instead."""

from feast import FeatureService
from views.payments import payment_amounts, payments_history

payments_v1 = FeatureService(
    name="payments_v1",
    features=[payments_history, payment_amounts],
    description="Fraud score of a payment.",
)
