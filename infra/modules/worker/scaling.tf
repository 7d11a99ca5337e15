# By backlog: messages for each running task, kept at what one task works off within the acceptable delay.
#
# It answers to what lasts: CloudWatch needs three minutes above the target before tasks are added, and fifteen below
# it before one is taken away. Shorter storms are min_tasks' to bear. Slack takes one alert a second however many tasks
# there are, so in a storm of alerts more tasks do not tell sooner.
# infra/test/test_scaling.py plays storms against these numbers.

locals {
  # Messages that one task works on at once; 32 unless said otherwise.
  concurrency      = tonumber(lookup(var.environment, "TRAILKEEPER_CONCURRENCY", "32"))
  backlog_per_task = var.acceptable_delay_seconds / var.processing_seconds * local.concurrency

  queue_dimensions   = { QueueName = var.queue.name }
  service_dimensions = { ClusterName = aws_ecs_cluster.worker.name, ServiceName = aws_ecs_service.worker.name }
  metrics = {
    # Hidden ones count: they are being worked on, or wait for another attempt.
    visible = { namespace = "AWS/SQS", name = "ApproximateNumberOfMessagesVisible", stat = "Average", dimensions = local.queue_dimensions }
    hidden  = { namespace = "AWS/SQS", name = "ApproximateNumberOfMessagesNotVisible", stat = "Average", dimensions = local.queue_dimensions }
    # Every task reports its CPU once a minute, so there are as many samples as tasks. RunningTaskCount would say the
    # same, and needs Container Insights, which costs.
    running = { namespace = "AWS/ECS", name = "CPUUtilization", stat = "SampleCount", dimensions = local.service_dimensions }
  }
}

resource "aws_appautoscaling_target" "worker" {
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.worker.name}/${aws_ecs_service.worker.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.min_tasks
  max_capacity       = var.max_tasks
}

resource "aws_appautoscaling_policy" "backlog" {
  name               = "${var.name}-backlog"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.worker.service_namespace
  resource_id        = aws_appautoscaling_target.worker.resource_id
  scalable_dimension = aws_appautoscaling_target.worker.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value = local.backlog_per_task
    # As long as a new task takes to be counted among the running.
    scale_out_cooldown = 120
    # A storm that comes back within five minutes still finds the tasks.
    scale_in_cooldown = 300

    customized_metric_specification {
      dynamic "metrics" {
        for_each = local.metrics

        content {
          id          = metrics.key
          return_data = false

          metric_stat {
            stat = metrics.value.stat

            metric {
              namespace   = metrics.value.namespace
              metric_name = metrics.value.name

              dynamic "dimensions" {
                for_each = metrics.value.dimensions

                content {
                  name  = dimensions.key
                  value = dimensions.value
                }
              }
            }
          }
        }
      }

      metrics {
        id = "backlog_per_task"
        # The newest minute is often not there yet: then the one before it is taken again. That keeps the divisor above
        # zero, too, as a number of samples that is there is never zero.
        expression  = "(FILL(visible, REPEAT) + FILL(hidden, REPEAT)) / FILL(running, REPEAT)"
        return_data = true
      }
    }
  }
}
