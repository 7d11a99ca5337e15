# Three queues: events, events that the worker gave up on, and events that EventBridge could not deliver.
#
# All are encrypted by SQS itself (SSE-SQS). Not with alias/aws/sqs: its key policy cannot be changed, so EventBridge
# could not be let use it, and would drop every event without a word.

locals {
  seconds_per_day = 24 * 60 * 60
}

resource "aws_sqs_queue" "events" {
  name                      = var.name
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 4 * local.seconds_per_day
  # The worker says both with every receive; these are for whoever looks into the queue by hand.
  receive_wait_time_seconds  = 20
  visibility_timeout_seconds = 40

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    # The worker counts attempts itself. Receives are also raised by deploys and by Spot interruptions, so a low
    # number would take healthy messages for poison; this is only the last resort.
    maxReceiveCount = 20
  })
}

resource "aws_sqs_queue" "dead_letters" {
  name                    = "${var.name}-dlq"
  sqs_managed_sse_enabled = true
  # A dead letter keeps the time at which it was first sent, so it must be kept for longer than the queue keeps it.
  message_retention_seconds = 14 * local.seconds_per_day
}

# Apart from the queue, or the two ARNs would make a cycle.
resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.url
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.events.arn]
  })
}

# Not the same as the dead letters: what lies here never reached the queue. SQS's redrive does not serve it, since no
# queue is its source: `trailkeeper replay` sends its messages to the queue again.
resource "aws_sqs_queue" "undelivered" {
  name                      = "${var.name}-undelivered"
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 14 * local.seconds_per_day
}
